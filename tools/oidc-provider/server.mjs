// SPDX-License-Identifier: Apache-2.0

// An OpenID provider for tests: oidc-provider with dynamic registration, its state in one file, and beside it a control
// port, on which tests list clients, count requests and order faults. It reads its settings as JSON from standard input
// and logs each request's method, path and status to standard output, nothing else of it.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTLSServer } from 'node:https';

import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(0, 'utf8'));

// State: every model's records by "model:id", and the signing key.
const state = existsSync(settings.state)
  ? JSON.parse(readFileSync(settings.state, 'utf8'))
  : {
    records: {},
    cookies: randomBytes(24).toString('base64url'),
    key: {
      ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), use: 'sig', kid: 'signing',
    },
  };

function save() {
  const part = `${settings.state}.part`;
  writeFileSync(part, JSON.stringify(state), { mode: 0o600 });
  renameSync(part, settings.state);
}
save();

class FileAdapter {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload, expiresIn) {
    const dies = expiresIn ? Date.now() + expiresIn * 1000 : 0;
    state.records[this.key(id)] = { payload, dies };
    save();
  }

  async find(id) {
    const record = state.records[this.key(id)];
    if (!record || (record.dies && record.dies < Date.now())) return undefined;
    return structuredClone(record.payload);
  }

  async findBy(name, value) {
    const prefix = `${this.model}:`;
    return Object.entries(state.records)
      .filter(([key, record]) => key.startsWith(prefix) && record.payload[name] === value)
      .map(([, record]) => structuredClone(record.payload))[0];
  }

  async findByUid(uid) { return this.findBy('uid', uid); }

  async findByUserCode(code) { return this.findBy('userCode', code); }

  async consume(id) {
    state.records[this.key(id)].payload.consumed = Math.floor(Date.now() / 1000);
    save();
  }

  async destroy(id) {
    delete state.records[this.key(id)];
    save();
  }

  async revokeByGrantId(grantId) {
    for (const [key, record] of Object.entries(state.records)) {
      if (record.payload.grantId === grantId) delete state.records[key];
    }
    save();
  }
}

const provider = new Provider(settings.issuer, {
  adapter: FileAdapter,
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
  cookies: { keys: [state.cookies] },
  extraClientMetadata: { properties: ['software_id', 'software_version'] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    registration: {
      enabled: true,
      initialAccessToken: settings.initialAccessToken || undefined,
      issueRegistrationAccessToken: true,
    },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
  },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: [state.key] },
  scopes: ['openid', 'offline_access', 'orders.read', 'orders.write'],
});

// clients lists what is registered now, without secrets.
function clients() {
  return Object.entries(state.records)
    .filter(([key]) => key.startsWith('Client:'))
    .map(([, { payload }]) => ({
      client_id: payload.client_id,
      client_name: payload.client_name,
      software_version: payload.software_version,
      grant_types: payload.grant_types,
      redirect_uris: payload.redirect_uris,
      scope: payload.scope,
      token_endpoint_auth_method: payload.token_endpoint_auth_method,
      secret_sha256: createHash('sha256').update(payload.client_secret ?? '').digest('hex'),
    }));
}

function answer(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(body === undefined ? undefined : JSON.stringify(body));
}

// The provider's own listing of its clients, such as many providers have beside the standard.
const perPage = 20;

function listing(req, res, url) {
  if (req.headers.authorization !== `Bearer ${settings.adminToken}`) {
    answer(res, 401, { error: 'invalid_token' });
    return;
  }
  const [, , , id] = url.pathname.split('/').map(decodeURIComponent);
  if (req.method === 'DELETE' && id) {
    const found = state.records[`Client:${id}`] !== undefined;
    delete state.records[`Client:${id}`];
    save();
    res.writeHead(found ? 204 : 404).end();
    return;
  }
  if (req.method !== 'GET' || id) {
    answer(res, 405, { error: 'invalid_request' });
    return;
  }
  const page = Number(url.searchParams.get('page') ?? 0);
  const all = clients();
  const headers = {};
  if ((page + 1) * perPage < all.length) {
    headers.link = `<${settings.issuer}/admin/clients?page=${page + 1}>; rel="next"`;
  }
  answer(res, 200, all.slice(page * perPage, (page + 1) * perPage).map(({ secret_sha256: _, ...rest }) => rest), headers);
}

let faults = [];
let counts = {};
const serve = provider.callback();

// replace makes the answer another than the one that the handler gives, after the handler had its effect.
function replace(res, fault) {
  const end = res.end.bind(res);
  res.end = () => {
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    res.statusCode = fault.status;
    for (const [name, value] of Object.entries(fault.headers ?? {})) res.setHeader(name, value);
    return end(fault.body ?? '');
  };
}

function handle(req, res) {
  const url = new URL(req.url, settings.issuer);
  const kind = `${req.method} ${url.pathname}`;
  counts[kind] = (counts[kind] ?? 0) + 1;
  res.on('finish', () => console.log(`${kind} ${res.statusCode}`));
  const fault = faults.find((f) => f.left !== 0 && url.pathname.startsWith(f.path) && (!f.method || f.method === req.method));
  if (fault) {
    fault.left -= 1;
    if (!fault.after) {
      req.resume();
      res.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? '');
      return;
    }
    replace(res, fault);
  }
  if (url.pathname.startsWith('/admin/clients')) listing(req, res, url);
  else serve(req, res);
}

async function control(req, res) {
  let text = '';
  for await (const chunk of req) text += chunk;
  switch (`${req.method} ${req.url}`) {
    case 'GET /clients': answer(res, 200, clients()); break;
    case 'GET /counts': answer(res, 200, counts); break;
    case 'POST /fault': faults.push({ left: -1, ...JSON.parse(text) }); answer(res, 200, {}); break;
    case 'DELETE /fault': faults = []; answer(res, 200, {}); break;
    default: answer(res, 404, {});
  }
}

const main = settings.certificate
  ? createTLSServer({ key: settings.privateKey, cert: settings.certificate }, handle)
  : createServer(handle);
main.listen(settings.port, '127.0.0.1', () => {
  createServer(control).listen(settings.controlPort, '127.0.0.1', () => console.log('ready'));
});
