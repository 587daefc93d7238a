"""The command `st-train`, up to where Python's own handling of Ctrl-C is good enough."""

from __future__ import annotations

from st.runtime.system.signals import quick_interrupt


def main() -> None:
    with quick_interrupt():
        from st.train.command import main as command
    command()


if __name__ == "__main__":
    main()
