# The container image: the static program and the CA bundle, nothing else. Build it with "make image".
#
# It runs as uid 65532 and on a read-only root. The configuration belongs at /etc/mailflume/mailflume.yaml. /data is the only
# place that is ever written to, and only by the built-in NATS server and for a sealing key of its own: with nats.url and
# sealing_key set, nothing is.
#
#   docker run --read-only -v mail:/data -v ./mailflume:/etc/mailflume:ro -p 127.0.0.1:8080:8080 mailflume
#   docker run --rm mailflume demo
ARG GO_IMAGE=docker.io/library/golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
ARG VERSION=devel
# timetzdata puts the time zones into the binary. No shell is needed: the tool chain alone builds it.
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -tags=timetzdata '-ldflags=-s -w -X main.buildVersion=${VERSION}'"
# It works in a folder that stays empty, because the next stage needs one and has nothing to make it with.
WORKDIR /out/data
RUN ["go", "build", "-C", "/src", "-o", "/out/mailflume", "./cmd/mailflume"]

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A new volume takes the owner of the folder that it is mounted on.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/mailflume /mailflume
USER 65532:65532
# The page is for probes and other containers. The demo keeps its files in TMPDIR.
ENV MAILFLUME_CONFIG=/etc/mailflume/mailflume.yaml MAILFLUME_HTTP_LISTEN=0.0.0.0:8080 MAILFLUME_DATA=/data TMPDIR=/data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s CMD ["/mailflume", "health"]
ENTRYPOINT ["/mailflume"]
CMD ["run"]
ARG VERSION=devel
LABEL org.opencontainers.image.title="mailflume" \
      org.opencontainers.image.description="Mail from Gmail and Outlook mailboxes on a NATS JetStream stream, exactly once" \
      org.opencontainers.image.source="https://github.com/mailflume/mailflume" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
