"""The slow methods: pictures by optimization, the quality that fast networks are measured by.

>>> from st.train.slow import gatys
>>> painted = gatys(content, style)  # (1, 3, H, W), RGB, 0..1
"""

try:
    from st.train.slow.cnnmrf import cnnmrf
    from st.train.slow.gatys import gatys
    from st.train.slow.histogram import histogram
    from st.train.slow.laplacian import laplacian
    from st.train.slow.reshuffle import reshuffle
except ModuleNotFoundError as error:  # without torch st-slow still says what to install
    if error.name != "torch":
        raise

__all__ = ["cnnmrf", "gatys", "histogram", "laplacian", "reshuffle"]
