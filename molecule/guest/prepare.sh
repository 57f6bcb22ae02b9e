#!/bin/sh
# prepare.sh DEBIAN PASSWORD - makes of a bare host a server that has been in use for a while.
set -eu
debian=$1 password=$2

# --- people -----------------------------------------------------------------------------------------

# person NAME SHELL - an account that logs in with a key, whose home has something in it.
person() {
    useradd --create-home --shell "$2" --comment "$1 themselves" "$1"
    install -d -m 0700 -o "$1" -g "$1" "/home/$1/.ssh"
    install -m 0600 -o "$1" -g "$1" /root/.ssh/authorized_keys "/home/$1/.ssh/"
    install -m 0600 -o "$1" -g "$1" /dev/stdin "/home/$1/diary" <<EOF
Only $1 reads this.
EOF
}
person ada /bin/bash
person deploy /bin/sh
# Grace runs Ansible: she is not root, and sudo asks for her password.
person grace /bin/bash
usermod --append --groups sudo grace
printf 'grace:%s\n' "$password" | chpasswd
# What a database or a mail server has: a system user whose processes run.
useradd --system --user-group --home-dir /var/lib/courier --create-home --shell /usr/sbin/nologin courier

# --- a hardened host --------------------------------------------------------------------------------

# No user gets a group of their own for nothing, either.
sed -i 's/^UMASK.*/UMASK 077/; s/^USERGROUPS_ENAB.*/USERGROUPS_ENAB no/' /etc/login.defs
install -m 0440 /dev/stdin /etc/sudoers.d/hardened <<'EOF'
Defaults umask=0077, umask_override
EOF
cat >>/etc/fstab <<'EOF'
tmpfs /tmp tmpfs nosuid,nodev,noexec,mode=1777 0 0
tmpfs /var/tmp tmpfs nosuid,nodev,noexec,mode=1777 0 0
proc /proc proc nosuid,nodev,noexec,hidepid=2 0 0
EOF
systemctl daemon-reload
mount -a
mount -o remount /proc
mount -o remount /tmp
cat >/etc/nftables.conf <<'EOF'
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        meta l4proto { 1, 58 } accept  # ICMP; a small host has no /etc/protocols
        tcp dport { 22, 80, 8080, 8081 } accept
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
    }
}
EOF
systemctl enable --quiet --now nftables.service

# --- units whose names are near the site's ----------------------------------------------------------

# unit NAME - a file of the operator's, read from standard input.
unit() {
    mkdir -p "/etc/systemd/system/$(dirname "$1")"
    cat >"/etc/systemd/system/$1"
}
unit aroundtheworld-backup.service <<'EOF'
[Unit]
Description=The operator's own backup

[Service]
ExecStart=/usr/bin/sleep infinity
Slice=aroundtheworld-batch.slice

[Install]
WantedBy=multi-user.target
EOF
unit aroundtheworld-backup.timer <<'EOF'
[Timer]
OnCalendar=yearly

[Install]
WantedBy=timers.target
EOF
unit aroundtheworld-batch.slice <<'EOF'
[Unit]
Description=The operator's own slice, beside the site's pools

[Slice]
CPUWeight=10
EOF
unit aroundtheworld-admin.slice.d/override.conf <<'EOF'
[Slice]
MemoryLow=16M
EOF
unit aroundtheworld@.service.d/operator.conf <<'EOF'
[Service]
LogRateLimitIntervalSec=10
EOF
unit system-own.slice <<'EOF'
[Unit]
Description=The operator's own slice in system.slice
EOF
unit courier.service <<'EOF'
[Service]
User=courier
ExecStart=/usr/bin/sleep infinity
Slice=system-own.slice

[Install]
WantedBy=multi-user.target
EOF
systemctl daemon-reload
systemctl enable --quiet --now aroundtheworld-backup.service aroundtheworld-backup.timer courier.service

# --- other sites in nginx ---------------------------------------------------------------------------

cd /etc/nginx
if [ "$debian" = 12 ]; then
    # Their socket takes IPv4 too, and as the address's default server they decide about slashes.
    cat >sites-available/neighbour <<'EOF'
server {
    listen [::]:80 default_server ipv6only=off;
    server_name neighbour.example.org;
    merge_slashes off;
    location / { return 200 "the neighbour answers $request_uri\n"; }
}
EOF
    ln -s ../sites-available/neighbour sites-enabled/neighbour
    # Debian's file, and an operator's content.
    cat >sites-available/default <<'EOF'
server {
    listen 8081 default_server;
    root /srv/own;
}
EOF
else
    # What nginx.org's package brings, over Debian's: no sites-*, and a user of its own.
    useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin nginx
    rm -r sites-available sites-enabled modules-enabled snippets
    cat >nginx.conf <<'EOF'
user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile        on;
    keepalive_timeout  65;

    include /etc/nginx/conf.d/*.conf;
}
EOF
    cat >conf.d/default.conf <<'EOF'
server {
    listen       80;
    server_name  localhost;

    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }
}
EOF
    cat >conf.d/neighbour.conf <<'EOF'
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    server_name neighbour.example.org;
    location / { return 200 "the neighbour answers $request_uri\n"; }
}
server {
    listen 8081;
    root /srv/own;
}
EOF
fi
mkdir -p /srv/own
echo "the operator's own page" >/srv/own/index.html
chmod -R a+rX /srv/own
nginx -t -q
systemctl restart nginx.service
