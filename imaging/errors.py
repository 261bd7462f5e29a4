"""What can go wrong with one image."""

from console.errors import BatchsightError


class ImageError(BatchsightError):
    """One image cannot be classified; the message is the reason kept in its record."""


def file_too_large(limit: int) -> ImageError:
    """For an image file of more bytes than `limit`."""
    return ImageError(f"file too large: the limit is {limit} bytes (BATCHSIGHT_MAX_IMAGE_BYTES)")
