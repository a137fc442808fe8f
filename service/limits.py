"""What one request may hold; everything is checked before anything is decoded."""

from dataclasses import dataclass

from service.errors import BodyTooLarge, ImageBytesTooLarge, TooManyImages, TooManyPairs

CLOSE: tuple[tuple[bytes, bytes], ...] = ((b"connection", b"close"),)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request: bytes of its body, and for each image bytes, pixels and frames."""

    body_bytes: int = 64 * 1024 * 1024
    images: int = 256
    image_bytes: int = 20_000_000
    image_pixels: int = 50_000_000
    image_frames: int = 1000
    pairs: int = 4096

    def check_body(self, num_bytes: int) -> None:
        """Raise BodyTooLarge above `body_bytes`; the connection closes, as the rest is not read."""
        if num_bytes > self.body_bytes:
            raise BodyTooLarge(
                f"The body may have {self.body_bytes} bytes; send the images in several requests.",
                headers=CLOSE,
            )

    def check_images(self, num_images: int) -> None:
        """Raise TooManyImages above `images`."""
        if num_images > self.images:
            raise TooManyImages(
                f"One request may hold {self.images} images; send them in several requests."
            )

    def check_image_bytes(self, num_bytes: int) -> None:
        """Raise ImageBytesTooLarge above `image_bytes`."""
        if num_bytes > self.image_bytes:
            raise ImageBytesTooLarge(
                f"An image may have {self.image_bytes} bytes, this one has {num_bytes};"
                " send a smaller version, the model sees a small one anyway."
            )

    def check_pairs(self, num_pairs: int) -> None:
        """Raise TooManyPairs above `pairs`."""
        if num_pairs > self.pairs:
            raise TooManyPairs(
                f"One request may ask for {self.pairs} pairs, not {num_pairs};"
                " ask for matrix=true, or send several requests."
            )
