"""A web service: POST a picture, get it painted in the same file format.

    pip install fastapi uvicorn
    uvicorn --app-dir examples in_fastapi:app
    curl --data-binary @photo.jpg 'http://localhost:8000/paint?style=wave' -o out.jpg

FastAPI runs handlers that are plain functions in a pool of threads, and one Stylizer serves all of
them. `styled` gives each request settings of its own.
"""

from __future__ import annotations

from fastapi import Body, FastAPI, HTTPException, Response

from st.runtime import BadInput, Stylizer

app = FastAPI()
engine = Stylizer("paintings")


@app.get("/styles")
def styles() -> list[str]:
    return list(engine.styles)


@app.post("/paint")
def paint(
    picture: bytes = Body(media_type="image/*"), style: str = "wave", strength: float = 1.0
) -> Response:
    try:
        painting = engine(picture, style, strength)  # bytes in, bytes of the same format out
    except BadInput as error:  # a bad picture, style or strength: the caller's mistake
        raise HTTPException(400, str(error)) from None
    return Response(painting, media_type="application/octet-stream")
