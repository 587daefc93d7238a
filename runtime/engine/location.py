"""Where an engine is: a shipped name or a file."""

from __future__ import annotations

from pathlib import Path

from st.engines import find, names
from st.runtime.engine.names import find_name, unknown_name
from st.runtime.errors import BadInput


def engine_path(engine: str | Path) -> Path:
    """The file of an engine, given by the name of a shipped one ("paintings") or as a file.

    Text without a slash, a backslash or a dot is a name; see `find_name` for how it is matched.
    NAME.trt also stands for NAME.rtx.trt, where only that exists.

    Raises BadInput: there is no shipped engine of this name.
    """
    if isinstance(engine, str) and not set(engine) & set("/\\.\0"):
        found = find(find_name(engine, names()) or "")
        if found is None:
            message = unknown_name("engine", engine, names() or ["none"], "shipped are")
            raise BadInput(f"{message}; or give a file")
        return found
    path = Path(engine)
    if path.suffix == ".trt" and not path.exists():  # st-export's name for a TensorRT-RTX engine
        portable = path.with_suffix(".rtx.trt")
        return portable if portable.exists() else path
    return path
