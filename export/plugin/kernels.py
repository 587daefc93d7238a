"""The Triton kernels. Feature maps are (N, C, pixels), float32 or float16; sums are float32.

Second moments are not computed as E[x²] − E[x]², which cancels. Each lane or block keeps a mean and
the squared deviations from it. They are merged by the rule of Chan, Golub and LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances" (1979):

    d = mean_b − mean_a,  M = M_a + M_b + d dᵀ · n_a n_b / (n_a + n_b)

Arguments are in TensorRT's order: inputs, integers, outputs.
"""

import triton
import triton.language as tl


@triton.jit
def adain(x, scale, shift, pixels, codes, y, EPS: tl.constexpr, BLOCK: tl.constexpr):
    """y = (x − mean) / √(variance + EPS) · scale + shift, one plane (image, channel) per program.

    Each plane is read twice. The second read hits the cache if the planes in progress fit in it.
    codes: length of scale and of shift, C (one style) or N·C.
    """
    plane = tl.program_id(0)
    x += plane.to(tl.int64) * pixels
    y += plane.to(tl.int64) * pixels
    lanes = tl.arange(0, BLOCK)

    # Welford's algorithm, separately in each lane, which needs no synchronization.
    mean = tl.zeros([BLOCK], tl.float32)
    squares = tl.zeros([BLOCK], tl.float32)
    for start in range(0, pixels, BLOCK):
        inside = start + lanes < pixels
        value = tl.load(x + start + lanes, mask=inside, other=0.0).to(tl.float32)
        apart = tl.where(inside, value - mean, 0.0)
        mean += apart / (start // BLOCK + 1)
        squares += apart * tl.where(inside, value - mean, 0.0)

    # Merge the lanes. The second step corrects the rounding error of a sum of large means.
    counts = ((pixels - lanes + BLOCK - 1) // BLOCK).to(tl.float32)
    whole = tl.sum(counts * mean, axis=0) / pixels
    whole += tl.sum(counts * (mean - whole), axis=0) / pixels
    apart = mean - whole
    variance = tl.sum(squares + counts * apart * apart, axis=0) / pixels

    factor = tl.load(scale + plane % codes).to(tl.float32) / tl.sqrt(variance + EPS)
    offset = tl.load(shift + plane % codes).to(tl.float32)
    for start in range(0, pixels, BLOCK):
        inside = start + lanes < pixels
        value = tl.load(x + start + lanes, mask=inside, other=0.0).to(tl.float32)
        styled = (value - whole) * factor + offset
        tl.store(y + start + lanes, styled.to(y.dtype.element_ty), mask=inside)


@triton.jit
def merge_block(moment, left_mean, right_mean, left_block, right_block, before, count):
    """Merge the means of `count` more pixels into the statistics of `before` pixels.

    moment: the sum of both second moments. Adds d dᵀ · n_a n_b / (n_a + n_b) to it and returns
    (moment, left_mean, right_mean) of all pixels.
    """
    left_apart, right_apart = left_block - left_mean, right_block - right_mean
    share = count / (before + count)
    moment += left_apart[:, None] * (right_apart * before * share)[None, :]
    return moment, left_mean + left_apart * share, right_mean + right_apart * share


@triton.jit
def covariance_parts(
    x,
    channels,
    pixels,
    parts,
    means,
    moments,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Means (N, parts, C) and second moments (N, parts, C, C) of each part, a range of pixels.

    A program computes ROWS × ROWS channels of one part of one image, and reads their pixels once.
    Several parts keep the GPU busy when there are few channels. `covariance_merge` merges them.
    """
    upper, side = tl.program_id(0), tl.program_id(1)
    if upper > side:  # stored by the mirrored program
        return
    which = tl.program_id(2).to(tl.int64)
    image, part = which // parts, (which % parts).to(tl.int32)
    length = tl.cdiv(pixels, parts)
    begin = part * length
    end = tl.minimum(begin + length, pixels)
    left_rows = upper * ROWS + tl.arange(0, ROWS)
    right_rows = side * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    left_at = x + (image * channels + left_rows)[:, None] * pixels
    right_at = x + (image * channels + right_rows)[:, None] * pixels

    left_mean = tl.zeros([ROWS], tl.float32)
    right_mean = tl.zeros([ROWS], tl.float32)
    moment = tl.zeros([ROWS, ROWS], tl.float32)
    for start in range(begin, end, COLUMNS):
        pixel = start + columns[None, :]
        inside = pixel < end
        left_mask = inside & (left_rows < channels)[:, None]
        right_mask = inside & (right_rows < channels)[:, None]
        left = tl.load(left_at + pixel, mask=left_mask, other=0.0).to(tl.float32)
        right = tl.load(right_at + pixel, mask=right_mask, other=0.0).to(tl.float32)
        count = tl.minimum(end - start, COLUMNS).to(tl.float32)
        before = (start - begin).to(tl.float32)
        left_block = tl.sum(left, axis=1) / count
        right_block = tl.sum(right, axis=1) / count
        left = tl.where(inside, left - left_block[:, None], 0.0)
        right = tl.where(inside, right - right_block[:, None], 0.0)
        moment = tl.dot(left, tl.trans(right), acc=moment, input_precision=PRECISION)
        moment, left_mean, right_mean = merge_block(
            moment, left_mean, right_mean, left_block, right_block, before, count
        )

    both = (left_rows < channels)[:, None] & (right_rows < channels)[None, :]
    moments += which * channels * channels
    tl.store(moments + left_rows[:, None] * channels + right_rows[None, :], moment, mask=both)
    if upper == side:
        tl.store(means + which * channels + left_rows, left_mean, mask=left_rows < channels)
    else:
        mirror = moments + right_rows[None, :] * channels + left_rows[:, None]
        tl.store(mirror, moment, mask=both)


@triton.jit
def covariance_merge(
    x,
    means,
    moments,
    channels,
    pixels,
    parts,
    mean,
    covariance,
    CORRECTION: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Mean (N, C) and covariance (N, C, C) of all pixels, from the statistics of the parts.

    x is not read. It is an argument because TensorRT takes the number of pixels from its shape.
    """
    upper, side = tl.program_id(0), tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    left_rows = upper * ROWS + tl.arange(0, ROWS)
    right_rows = side * ROWS + tl.arange(0, ROWS)
    left_in, right_in = left_rows < channels, right_rows < channels
    both = left_in[:, None] & right_in[None, :]
    at = left_rows[:, None] * channels + right_rows[None, :]
    length = tl.cdiv(pixels, parts)

    left_mean = tl.zeros([ROWS], tl.float32)
    right_mean = tl.zeros([ROWS], tl.float32)
    moment = tl.zeros([ROWS, ROWS], tl.float32)
    for part in range(0, tl.cdiv(pixels, length)):  # the last parts may be empty
        which = image * parts + part
        before = (part * length).to(tl.float32)
        count = tl.minimum(pixels - part * length, length).to(tl.float32)
        own = means + which * channels
        left_block = tl.load(own + left_rows, mask=left_in, other=0.0)
        right_block = tl.load(own + right_rows, mask=right_in, other=0.0)
        moment += tl.load(moments + which * channels * channels + at, mask=both, other=0.0)
        moment, left_mean, right_mean = merge_block(
            moment, left_mean, right_mean, left_block, right_block, before, count
        )

    divisor = tl.maximum(pixels - CORRECTION, 1).to(tl.float32)
    tl.store(covariance + image * channels * channels + at, moment / divisor, mask=both)
    if upper == side:
        tl.store(mean + image * channels + left_rows, left_mean, mask=left_in)


@triton.jit
def whiten_color(
    x,
    matrix,
    mean,
    shift,
    channels,
    pixels,
    codes,
    y,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """y = matrix · (x − mean) + shift, one tile of ROWS × COLUMNS of y per program.

    matrix (S, C, C) and shift (S, C), where S = codes is 1 (one style) or N; mean (N, C).
    """
    image = tl.program_id(2).to(tl.int64)
    code = image % codes
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    pixel = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    x += image * channels * pixels
    matrix += code * channels * channels
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(0, channels, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        has = inner < channels
        weights = tl.load(
            matrix + rows[:, None] * channels + inner[None, :],
            mask=(rows < channels)[:, None] & has[None, :],
            other=0.0,
        ).to(tl.float32)
        values = tl.load(
            x + inner[:, None].to(tl.int64) * pixels + pixel[None, :],
            mask=has[:, None] & (pixel < pixels)[None, :],
            other=0.0,
        ).to(tl.float32)
        center = tl.load(mean + image * channels + inner, mask=has, other=0.0).to(tl.float32)
        total = tl.dot(weights, values - center[:, None], acc=total, input_precision=PRECISION)
    offset = tl.load(shift + code * channels + rows, mask=rows < channels, other=0.0)
    total += offset.to(tl.float32)[:, None]
    y += image * channels * pixels
    tl.store(
        y + rows[:, None].to(tl.int64) * pixels + pixel[None, :],
        total.to(y.dtype.element_ty),
        mask=(rows < channels)[:, None] & (pixel < pixels)[None, :],
    )
