# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/postern ./cmd/postern \
 && mkdir -p /out/root/etc/postern /out/root/run /out/root/usr/bin /out/root/var/spool /out/root/var/lib /out/owned/postern \
 && mv /out/postern /out/root/usr/bin/ && chmod 0700 /out/owned/postern

FROM scratch
# Certificates of the public authorities, for tls = "verify".
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build /out/root/ /
# These alone belong to the user of the image, and nothing above them: another user, as OpenShift gives one, refuses folders
# that somebody else could exchange. It has volumes of its own for all three.
COPY --from=build --chown=65532:65532 /out/owned/ /var/spool/
COPY --from=build --chown=65532:65532 /out/owned/ /var/lib/
COPY --from=build --chown=65532:65532 /out/owned/ /run/
# Without /etc/postern/postern.toml it captures mail, below /var/lib/postern.
ENV XDG_STATE_HOME=/var/lib
USER 65532:65532
VOLUME ["/var/spool/postern", "/var/lib/postern"]
EXPOSE 2525
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/usr/bin/postern", "status", "--health"]
ENTRYPOINT ["/usr/bin/postern"]
CMD ["serve"]
