#!/bin/sh
# Starts two certificate authorities, pebble@14000 and pebble@14001, named after their ports. Each makes a root of its own
# when it starts; https://localhost:15000/roots/0 and :15001 are where to get it.
set -eu
directory=/etc/pebble
mkdir -p "$directory"
cd "$directory"

# What the authorities answer with is signed by one that the host trusts, as a company's own would be.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=The test hosts' own" \
    -addext keyUsage=critical,keyCertSign -keyout ca.key -out /usr/local/share/ca-certificates/test-hosts.crt 2>/dev/null
update-ca-certificates >/dev/null 2>&1
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" -keyout key.pem -out csr.pem \
    2>/dev/null
printf '%s\n' subjectAltName=DNS:localhost authorityKeyIdentifier=keyid >extensions
openssl x509 -req -in csr.pem -CA /usr/local/share/ca-certificates/test-hosts.crt -CAkey ca.key -days 30 \
    -extfile extensions -out cert.pem 2>/dev/null

for port in 14000 14001; do
    # Certificates of two days; a key that this version does not know it leaves alone.
    cat >"$port.json" <<JSON
{"pebble": {
  "listenAddress": "127.0.0.1:$port", "managementListenAddress": "127.0.0.1:$((port + 1000))",
  "certificate": "$directory/cert.pem", "privateKey": "$directory/key.pem",
  "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false,
  "retryAfter": {"authz": 1, "order": 1}, "certificateValidityPeriod": 172800
}}
JSON
done
cat >/etc/systemd/system/pebble@.service <<'UNIT'
[Unit]
Description=A certificate authority for tests, on port %i

[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0
ExecStart=/usr/bin/pebble -config /etc/pebble/%i.json

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet --now pebble@14000.service pebble@14001.service
