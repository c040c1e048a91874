# SPDX-License-Identifier: Apache-2.0

"""Has libpq take connection strings, one for each line of standard input in hexadecimal, and prints the password that each
gives, in hexadecimal: from the string, from its URL, or from the password file that it names. Nothing is connected to."""

import ctypes
import glob
import sys

libpq = ctypes.CDLL(sorted(glob.glob("/usr/lib/*/libpq.so.5") + glob.glob("/usr/lib/libpq.so.5"))[-1])
libpq.PQconnectStart.restype = ctypes.c_void_p
libpq.PQpass.argtypes = libpq.PQfinish.argtypes = [ctypes.c_void_p]
libpq.PQpass.restype = ctypes.c_char_p
for line in sys.stdin:
    connection = libpq.PQconnectStart(bytes.fromhex(line.strip()))
    print((libpq.PQpass(connection) or b"").hex())
    libpq.PQfinish(connection)
