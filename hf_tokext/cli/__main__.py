"""`python -m hf_tokext.cli` is `tokext`."""

from hf_tokext.cli import main

main()
