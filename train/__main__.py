"""`python -m st.train`: the command `st-train`."""

from __future__ import annotations

from st.runtime.cli.entry import train as main

if __name__ == "__main__":
    main()
