"""What the bytes of each format say, before and besides what Pillow makes of them."""
