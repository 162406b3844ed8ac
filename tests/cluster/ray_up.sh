#!/bin/bash
# Starts docs/cluster/ray-up-local.yaml on five machines of its own, runs campaigns there as
# docs/cluster.md says, and ends it. The machines are namespaces of this one, each with addresses,
# processes and an sshd of its own, on a network that leads nowhere else. Needs root, iproute2,
# openssh-server and rsync, and ionscreen with "ray[default]" in the environment that it is started
# from. Not part of the test suite: tests/cluster/ray_up.sh [FOLDER]
set -euo pipefail

if [ -z "${RAY_UP_INSIDE:-}" ]; then
    for program in ip sshd rsync unshare; do
        command -v "$program" >/dev/null || {
            echo "$program not found: apt-get install iproute2 openssh-server rsync" >&2
            exit 1
        }
    done
    # What is started in here has no way out, and ends with this script.
    RAY_UP_INSIDE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

trap 'exit 130' INT TERM # the first process of a namespace is not ended by them otherwise
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d)}
venv=${VIRTUAL_ENV:?activate the environment that has ionscreen and ray[default]}
file="$work/ray-up-local.yaml"
export HOME="$work/desk/home" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

ok() { echo "ok: $*"; }

fail() {
    echo "failed: $*" >&2
    exit 1
}

folders() { # of a machine: its home, and what Ray puts into /tmp
    mkdir -p "$work/$1"/{home,ray}
    cp -rT /etc/skel "$work/$1/home"
    ln -sfn "$venv" "$work/$1/home/ionscreen"
    echo "root:x:0:0:root:$work/$1/home:/bin/bash" | cat - /etc/passwd >"$work/$1/passwd"
}

# shellcheck disable=SC2016
own_folders='mount --bind "$1/ray" /tmp/ray && mount --bind "$1/passwd" /etc/passwd &&
    mount -t tmpfs tmpfs /dev/shm'

machine() { # name, address
    folders "$1"
    ip netns add "$1"
    ip link add "to-$1" type veth peer name eth0 netns "$1"
    ip link set "to-$1" master bridge up
    ip -n "$1" link set lo up
    ip -n "$1" address add "$2/24" dev eth0
    ip -n "$1" link set eth0 up
    cat >"$work/$1/sshd.conf" <<CONF
ListenAddress $2:22
HostKey $work/host_key
AuthorizedKeysFile $HOME/.ssh/id_ed25519.pub
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
CONF
    ip netns exec "$1" unshare --mount --pid --fork --kill-child --mount-proc \
        bash -c "$own_folders && exec $(command -v sshd) -D -e -f \$1/sshd.conf" sh "$work/$1" \
        2>"$work/$1/sshd.log" &
}

on() { # name, command: as by hand on that machine
    # shellcheck disable=SC2029
    ssh -q -i "$HOME/.ssh/id_ed25519" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        "root@${address[$1]}" ". ~/ionscreen/bin/activate && export RAY_AUTH_MODE=token && $2"
}

left_on() { # name: what of Ray runs there
    on "$1" "ps -eo args" | grep -E "raylet|gcs_server|ray::|dashboard|autoscaler" | grep -v grep
}

run_on_head() { # database
    ray exec "$file" "RAY_AUTH_MODE=token ionscreen run --chemsys 'Mg-*' --source catalog \
        --limit 12 --db $1 --ray-address 192.168.1.10:6379"
}

is_finished() { # database on the head
    on head "screen sql --format csv 'select finished is not null from campaigns' --db $1" |
        grep -qi true
}

nodes() { on head "python -c 'import ray; ray.init(address=\"auto\", log_to_driver=False)
print(sum(node[\"Alive\"] for node in ray.nodes()))'" 2>/dev/null; }

wait_for_nodes() { # number
    for _ in $(seq 90); do
        [ "$(nodes)" = "$1" ] && return
        sleep 1
    done
    fail "$(nodes) machines are in the cluster, expected $1"
}

# The network, and the desk from which the cluster is started.
mkdir -p /tmp/ray
mount -t tmpfs tmpfs /run
mkdir /run/sshd
folders desk
bash -c "$own_folders" sh "$work/desk"
ip link set lo up
ip link add bridge type bridge
ip address add 192.168.1.1/24 dev bridge
ip link set bridge up
mkdir -p "$HOME/.ssh"
ssh-keygen -q -t ed25519 -N "" -f "$work/host_key" <<<y >/dev/null
ssh-keygen -q -t ed25519 -N "" -f "$HOME/.ssh/id_ed25519" <<<y >/dev/null
declare -A address=(
    [head]=192.168.1.10 [first]=192.168.1.11 [second]=192.168.1.12 [guest]=192.168.1.13
)
for name in "${!address[@]}"; do machine "$name" "${address[$name]}"; done
for name in "${!address[@]}"; do
    for _ in $(seq 20); do
        on "$name" true && continue 2
        sleep 0.5
    done
    fail "no sshd on $name: $(cat "$work/$name/sshd.log")"
done

# The file as it is, but for the user: the addresses are those of the machines above.
sed "s/ssh_user: user/ssh_user: $(id -un)/" "$root/docs/cluster/ray-up-local.yaml" >"$file"
ray get-auth-token --generate >/dev/null
timeout 300 ray up --yes --no-config-cache "$file"
wait_for_nodes 3
ok "ray up has started three machines"

echo "--- a campaign on the head"
run_on_head one.duckdb || fail "the campaign on the head"
is_finished one.duckdb || fail "the campaign on the head is not finished"
ok "screen run --ray-address"

echo "--- a machine joins by hand: not without the token, and not with other code"
join="ray start --address=192.168.1.10:6379 --disable-usage-stats"
on guest "RAY_AUTH_MODE=disabled timeout 60 $join" >"$work/guest.log" 2>&1 &&
    fail "a machine without the token has joined"
grep -q "Authentication token is missing or incorrect" "$work/guest.log" ||
    fail "not the token: $(cat "$work/guest.log")"
ok "refused without the token"
install -D -m 600 "$HOME/.ray/auth_token" "$work/guest/home/.ray/auth_token"
# shellcheck disable=SC2016
on guest 'file=$(python -c "import jobs.settings; print(jobs.settings.__file__)") &&
    { cat "$file" && echo "# other code"; } >/dev/shm/other && mount --bind /dev/shm/other "$file"'
on guest "ray stop && $join" >/dev/null
wait_for_nodes 4
run_on_head none.duckdb >"$work/refused.log" 2>&1 && fail "a machine with other code is not refused"
grep "error: .* where the run has " "$work/refused.log" || fail "$(cat "$work/refused.log")"
ok "refused for its code"
# shellcheck disable=SC2016
on guest 'ray stop && umount "$(python -c "import jobs.settings; print(jobs.settings.__file__)")"' \
    >/dev/null
wait_for_nodes 3
on guest "$join" >/dev/null
wait_for_nodes 4
ok "ray start --address"

echo "--- a job from the desk, by the port that ray dashboard forwards"
ray dashboard "$file" >"$work/dashboard.log" 2>&1 &
for _ in $(seq 60); do
    (exec 3<>/dev/tcp/127.0.0.1/8265) 2>/dev/null && break
    sleep 0.5
done
ray job submit --address http://127.0.0.1:8265 -- \
    screen run --chemsys "Mg-*" --source catalog --limit 12 \
    --db "$work/head/home/two.duckdb" --ray-address auto || fail "the job"
is_finished two.duckdb || fail "the job's campaign is not finished"
ok "ray job submit"
for name in head first second guest; do
    grep -q "actor_name:FeatureWorker" "$work/$name"/ray/session_2*/logs/worker*.out ||
        fail "$name has had no work"
done
ok "work for all four machines"

on head "screen top -n 3 --db two.duckdb"
for database in one two; do
    on head "screen sql --format csv 'select hop_id, round(em_ev, 6) from predictions order by 1' \
        --db $database.duckdb" >"$work/$database.csv"
done
[ "$(wc -l <"$work/one.csv")" -gt 12 ] || fail "no barriers"
cmp "$work/one.csv" "$work/two.csv" || fail "the two campaigns do not agree"
ok "the same $(($(wc -l <"$work/one.csv") - 1)) barriers in both databases"

on guest "ray stop" >/dev/null
wait_for_nodes 3
ray down --yes "$file"
began=$SECONDS
for name in "${!address[@]}"; do
    for _ in $(seq 120); do
        left_on "$name" >"$work/left" || continue 2
        sleep 1
    done
    fail "still running on $name: $(cat "$work/left")"
done
ok "ray down has left nothing running, $((SECONDS - began)) s after it"
