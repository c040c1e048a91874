// SPDX-License-Identifier: Apache-2.0

// Reads every env file of a folder with Node's own parser (that of --env-file) and with the npm package dotenv, and prints
// what each reads: reader, file, key and value in hexadecimal.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import dotenv from 'dotenv';
import dotenv16 from 'dotenv-16';

const hex = (text) => Buffer.from(text, 'utf8').toString('hex');
const readers = { 'node': parseEnv, 'dotenv': dotenv.parse, 'dotenv-16': dotenv16.parse };
const lines = [];
for (const file of readdirSync(process.argv[2])) {
  const text = readFileSync(join(process.argv[2], file), 'utf8');
  for (const [reader, parse] of Object.entries(readers)) {
    lines.push(`${reader}\t${file}\t!`);
    for (const [key, value] of Object.entries(parse(text))) lines.push(`${reader}\t${file}\t${hex(key)}\t${hex(value)}`);
  }
}
process.stdout.write(lines.join('\n') + '\n');
