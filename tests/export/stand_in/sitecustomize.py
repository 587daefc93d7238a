"""Python reads this first in the building process of a test: a GPU that is not here, and plugins
that are not registered."""

from st.export import plugin
from st.runtime.backends import gpu

gpu.find_gpu = lambda index=0: gpu.Gpu("a GPU that is not here", 89, 13000)
plugin.register = lambda capability=None: None
