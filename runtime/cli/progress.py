"""Progress bars on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from st.runtime.cli.base import is_quiet

DESCRIPTION = TextColumn("{task.description}", markup=False)
BAR = BarColumn()


def progress_bars(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Progress bars on standard error; nothing is drawn without a terminal or with --quiet.

    columns: what follows the description and the bar; by default steps done of all, the time taken
        and the time left.
    transient: remove the bars at the end.
    """
    console = Console(stderr=True)
    usual = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(
        DESCRIPTION,
        BAR,
        *(columns or usual),
        console=console,
        transient=transient,
        disable=not console.is_terminal or is_quiet(),
    )
