<?php
// SPDX-License-Identifier: Apache-2.0

// Reads every env file of a folder with PHP's phpdotenv and with Symfony's, and prints what each reads: reader, file, key
// and value in hexadecimal.
foreach (['Dotenv', 'Symfony/Component/Dotenv'] as $package) {
    require "/usr/share/php/$package/autoload.php";
}

$readers = [
    'phpdotenv' => fn (string $text) => Dotenv\Dotenv::parse($text),
    'symfony' => fn (string $text) => (new Symfony\Component\Dotenv\Dotenv())->parse($text),
];
foreach (array_diff(scandir($argv[1]), ['.', '..']) as $name) {
    $text = file_get_contents("$argv[1]/$name");
    foreach ($readers as $reader => $read) {
        echo "$reader\t$name\t!\n";
        try {
            foreach ($read($text) as $key => $value) {
                echo "$reader\t$name\t", bin2hex($key), "\t", bin2hex($value ?? ''), "\n";
            }
        } catch (Throwable) {
            continue;
        }
    }
}
