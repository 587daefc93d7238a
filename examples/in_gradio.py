"""A Gradio app: a picture, a style and a strength in, a painting out.

pip install gradio
python examples/in_gradio.py
"""

from __future__ import annotations

import gradio

from st.runtime import Stylizer

engine = Stylizer("paintings")
app = gradio.Interface(
    lambda picture, style, strength: engine(picture, style, strength),
    [
        gradio.Image(type="pil"),
        gradio.Dropdown(list(engine.styles), label="Style"),
        gradio.Slider(0, 1, 1, label="Strength"),
    ],
    gradio.Image(format="png"),
    api_name="paint",
)

if __name__ == "__main__":
    app.launch()
