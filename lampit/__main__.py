"""`python -m lampit`: the command, for where the script `lampit` is not on the path."""

from lampit.cli import main

if __name__ == "__main__":
    main()
