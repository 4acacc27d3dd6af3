# syntax=docker/dockerfile:1
ARG GO_IMAGE=docker.io/library/golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
ARG VERSION=devel
# timetzdata puts the time zones into the binary. No shell is needed: the tool chain alone builds it.
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -tags=timetzdata '-ldflags=-s -w -X main.buildVersion=${VERSION}'"
RUN ["go", "build", "-o", "/out/mailflume", "./cmd/mailflume"]

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/mailflume /mailflume
USER 65532:65532
ENV MAILFLUME_HTTP_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s CMD ["/mailflume", "health"]
ENTRYPOINT ["/mailflume"]
CMD ["run", "--config", "/etc/mailflume/mailflume.yaml"]
