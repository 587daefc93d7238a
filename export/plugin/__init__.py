"""Fused statistics for AdaIN and WCT: Triton kernels, TensorRT plugins and ONNX functions.

kernels.py    the kernels, one source for all that follows
tiles.py      the tile sizes that they are launched and compiled with
cuda.py       PyTorch on CUDA
compiled.py   PTX and cubin ahead of time, with registers and spills
functions.py  ONNX functions of standard operators in domain `st`, and their lowering to plugins
register.py   TensorRT's quickly deployable plugins with the compiled kernels inside

Nothing is imported here: each part needs another library.
"""
