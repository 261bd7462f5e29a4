# One image per role, all from one base. Packages come from the role's lock, so that an image holds
# nothing that its role does not need; the code comes last, so that a change of it rebuilds in seconds.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS base
# The file system is read-only: what a library wants to write goes to /tmp, which is memory.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    BATCHSIGHT_STORAGE=/storage \
    BATCHSIGHT_HEALTH_FILE=/tmp/alive
# A new named volume takes the owner of the folder it is mounted on.
RUN groupadd --gid 10001 batchsight \
 && useradd --uid 10001 --gid batchsight --no-create-home --shell /usr/sbin/nologin batchsight \
 && install -d -o batchsight -g batchsight /storage /storage/datasets /storage/models /storage/jobs \
        /storage/beat /storage/downloads
WORKDIR /app

FROM base AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
COPY docker/install-packages /usr/local/bin/

FROM builder AS producer-packages
COPY locks/producer.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip install-packages /locks/producer.txt

FROM builder AS worker-packages
COPY locks/worker.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip install-packages /locks/worker.txt

FROM builder AS worker-slim-packages
COPY locks/worker-slim.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip install-packages /locks/worker-slim.txt

FROM builder AS trainer-packages
COPY locks/trainer.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip install-packages /locks/trainer.txt

FROM builder AS flower-packages
COPY locks/flower.txt /locks/
RUN --mount=type=cache,target=/tmp/.cache/pip install-packages /locks/flower.txt

# What all programs are built on.
FROM scratch AS shared
COPY console /console
COPY process /process
COPY imaging /imaging
COPY evaluation /evaluation
COPY messaging /messaging
COPY storage /storage
COPY dispatch /dispatch

# Also the desk, which shows what the producer's code tells.
FROM base AS flower
COPY --from=flower-packages /opt/venv /opt/venv
COPY --from=shared / /app/
COPY producer /app/producer
COPY monitor /app/monitor
COPY desk /app/desk
RUN python -m compileall -q /app
USER batchsight
CMD ["celery", "-A", "monitor.flower", "flower"]

FROM base AS producer
COPY --from=producer-packages /opt/venv /opt/venv
COPY --from=shared / /app/
COPY producer /app/producer
RUN python -m compileall -q /app
USER batchsight
ENTRYPOINT ["python", "-m", "producer.cli"]

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
COPY --from=shared / /app/
COPY worker /app/worker
RUN python -m compileall -q /app
USER batchsight
CMD ["celery", "-A", "worker", "worker", "-n", "worker@%h", "--loglevel", "INFO"]

# The same without TensorFlow: it leaves what needs that to others.
FROM base AS worker-slim
COPY --from=worker-slim-packages /opt/venv /opt/venv
COPY --from=shared / /app/
COPY worker /app/worker
RUN python -m compileall -q /app
USER batchsight
CMD ["celery", "-A", "worker", "worker", "-n", "worker@%h", "--loglevel", "INFO"]

# Also beat, and the bootstrap: they are trainers with another command. It holds the worker's code,
# which examines new versions.
FROM base AS trainer
COPY --from=trainer-packages /opt/venv /opt/venv
COPY docker/trainer /usr/local/bin/
COPY --from=shared / /app/
COPY worker /app/worker
COPY trainer /app/trainer
RUN python -m compileall -q /app
USER batchsight
CMD ["celery", "-A", "trainer", "worker", "-n", "trainer@%h", "--loglevel", "INFO"]
