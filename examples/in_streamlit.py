"""A Streamlit page: upload a picture, choose a style, see the painting.

pip install streamlit
streamlit run examples/in_streamlit.py
"""

from __future__ import annotations

import streamlit

from st.runtime import BadInput, Stylizer

paint = streamlit.cache_resource(Stylizer)("paintings")  # opened once, for all visitors
style = streamlit.selectbox("Style", paint.styles)
strength = streamlit.slider("Strength", 0.0, 1.0, 1.0)
if file := streamlit.file_uploader("Picture"):
    try:
        streamlit.image(paint(file.getvalue(), style, strength))  # bytes in, bytes out
    except BadInput as error:
        streamlit.error(str(error))
