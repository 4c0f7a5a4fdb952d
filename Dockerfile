# augpipe on the CPU: docs/how-to/use-a-container.md. torch's ordinary wheels bring 5 GB of GPU libraries; TORCH_INDEX is the index
# of its CPU wheels, which torch's own installation page names.
FROM python:3.12-slim

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 AUGPIPE_HOME=/data

# In a layer of its own: it changes seldom and is the largest. Both from one index, as torchvision must fit torch.
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "torch>=2.11,<3" "torchvision>=0.26,<1"; fi

COPY pyproject.toml setup.py README.md LICENSE /source/
COPY augpipe /source/augpipe
COPY flows /source/flows
RUN pip install "/source[medical,servers]" && rm -r /source

# Writable for every user: `docker run --user` has any number.
RUN useradd --create-home augpipe && mkdir -m 1777 /data /work
USER augpipe
VOLUME /data
WORKDIR /work
ENTRYPOINT ["augpipe"]
CMD ["--help"]
