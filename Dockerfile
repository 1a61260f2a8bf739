# What `make book` and `make test` need, on a bare Debian 12. `tools/container` builds this image and runs both in it.
FROM debian:12-slim

# Debian's own versions: the release fixes them, and what the results rest on is pinned in requirements.lock.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates chromium fonts-dejavu-core git libatomic1 make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 1000 --create-home reader
USER 1000
WORKDIR /home/reader/batch-hi
COPY --chown=1000:1000 . .

# The packages are a part of the image, so that both commands run without a network.
# A mirror of the package index, where one is needed: --build-arg PIP_INDEX_URL=…
ARG PIP_INDEX_URL
RUN make for-book for-test

CMD ["bash", "-c", "make book && make test"]
