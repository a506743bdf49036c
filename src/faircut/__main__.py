"""``python -m faircut`` is ``faircut``."""

from faircut.cli import main

if __name__ == "__main__":
    main()
