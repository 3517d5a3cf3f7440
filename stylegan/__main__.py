# SPDX-License-Identifier: Apache-2.0
"""`python -m stylegan`: the command line."""

from stylegan.cli.main import program

if __name__ == "__main__":
    program()
