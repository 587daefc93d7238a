"""The slow methods: style transfer by optimization, the quality reference for fast networks.

>>> from st.train.slow import gatys
>>> painted = gatys(content, style)  # (1, 3, H, W), RGB, 0..1
"""

try:
    from st.train.slow.cnnmrf import cnnmrf
    from st.train.slow.gatys import gatys
    from st.train.slow.histogram import histogram
    from st.train.slow.laplacian import laplacian
    from st.train.slow.reshuffle import reshuffle
except ModuleNotFoundError as error:  # st-slow --help works without torch
    if error.name != "torch":
        raise

__all__ = ["cnnmrf", "gatys", "histogram", "laplacian", "reshuffle"]
