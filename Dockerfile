# The service in one image.
#   docker build -t vistok .
#   docker build -t vistok --build-arg TORCH_INDEX=INDEX .
# TORCH_INDEX is the package index of the torch build wanted, such as one without CUDA, which makes the image
# several times smaller; without it torch comes from pip's own, runs on the CPU, and on CUDA where there is some.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/vistok
WORKDIR /source
# torch is nine tenths of the image and changes least: a layer of its own.
COPY constraints.txt ./
RUN /opt/vistok/bin/pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch
COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY tokenizer tokenizer
COPY server server
COPY client client
RUN /opt/vistok/bin/pip install --constraint constraints.txt ".[server,tracing]"

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin vistok
COPY --from=build /opt/vistok /opt/vistok
ENV PATH=/opt/vistok/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# Exec form: the process gets SIGTERM itself, and finishes what it has admitted.
ENTRYPOINT ["vistok", "serve", "--host", "0.0.0.0"]
