"""The names of media types and of headers that server and client agree on."""

TOKENS = "application/vnd.vistok.tokens"
NPY = "application/x-npy"
PROBLEM = "application/problem+json"
JSON = "application/json"
NDJSON = "application/x-ndjson"
PNG = "image/png"
WEBP = "image/webp"
JPEG = "image/jpeg"

# Header names.
PSNR = "Vistok-Psnr"
BITS_PER_PIXEL = "Vistok-Bits-Per-Pixel"
WARNINGS = "Vistok-Warnings"
REQUEST_ID = "X-Request-Id"
PRIORITY = "X-Priority"
TIMEOUT = "X-Timeout-Ms"
