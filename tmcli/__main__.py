"""`python -m tmcli` is `tm`."""

from tmcli.app import main

if __name__ == "__main__":
    main()
