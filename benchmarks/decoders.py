"""The fastest decoders measured, into a given array; every case that may choose its decoder uses these."""

import kornia_rs.io
import numpy as np
import simplejpeg


def decode_png(data, out):
    """PNG by kornia-rs; `out` is uint8 [H, W, 3]."""
    out[...] = kornia_rs.io.decode_image_png_u8(bytes(data), out.shape[:2], "rgb")


def decode_jpeg(data, out):
    """JPEG by libjpeg-turbo, straight into `out`, uint8 [H, W, 3]."""
    simplejpeg.decode_jpeg(data, buffer=out)


DECODERS = {"png": decode_png, "jpg": decode_jpeg}


def decode_batch(encoded, extension, side):
    """uint8 [len(encoded), side, side, 3]: images decoded in place, without a copy of each."""
    out = np.empty((len(encoded), side, side, 3), np.uint8)
    decode = DECODERS[extension]
    for row, data in enumerate(encoded):
        decode(data, out[row])
    return out
