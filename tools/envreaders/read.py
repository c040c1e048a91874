# SPDX-License-Identifier: Apache-2.0

"""Reads every env file of a folder with python-dotenv and with systemd's own code (that of EnvironmentFile=), and prints
what each reads: reader, file, key and value in hexadecimal."""

import ctypes
import glob
import logging
import os
import sys

import dotenv

logging.disable(logging.CRITICAL)


def python_dotenv(path):
    return {k: (v or "").encode() for k, v in dotenv.dotenv_values(path).items()}


def systemd():
    """EnvironmentFile= is load_env_file, then strv_env_clean; both are in the library that systemd's programs share."""
    found = sorted(glob.glob("/usr/lib/*/systemd/libsystemd-shared-*.so") + glob.glob("/usr/lib/systemd/libsystemd-shared-*.so"))
    shared = ctypes.CDLL(found[-1])
    strings = ctypes.POINTER(ctypes.c_char_p)
    shared.load_env_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(strings)]
    shared.strv_env_clean_with_callback.argtypes = [strings, ctypes.c_void_p, ctypes.c_void_p]
    shared.strv_env_clean_with_callback.restype = strings

    def read(path):
        got = strings()
        if shared.load_env_file(None, path.encode(), ctypes.byref(got)) < 0:
            return {}
        got = shared.strv_env_clean_with_callback(got, None, None)
        fields, i = {}, 0
        while got and got[i] is not None:
            key, _, value = got[i].partition(b"=")
            fields[key.decode()] = value
            i += 1
        return fields

    return read


readers = {"python-dotenv": python_dotenv, "systemd": systemd()}
lines = []
for name in os.listdir(sys.argv[1]):
    for reader, read in readers.items():
        lines.append(f"{reader}\t{name}\t!")
        for key, value in read(os.path.join(sys.argv[1], name)).items():
            lines.append(f"{reader}\t{name}\t{key.encode().hex()}\t{value.hex()}")
print("\n".join(lines))
