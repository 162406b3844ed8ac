#!/bin/bash
# Sets up a SLURM of one node on this machine and runs docs/cluster/slurm.sbatch on it. Needs root,
# slurm-wlm and munge of Debian or Ubuntu, and ionscreen in the environment that it is started from.
# Not part of the test suite: tests/slurm/run.sh [FOLDER]
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d)}
host=$(hostname -s)
cpus=$(nproc)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.8)}' /proc/meminfo)
pids=()
mkdir -p "$work"/{state,spool,log}

finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
}
trap finish EXIT

for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || {
        echo "$program not found: apt-get install slurm-wlm munge" >&2
        exit 1
    }
done

# A munge of our own would want a socket of its own, of which SLURM knows by its configuration.
head -c 1024 /dev/urandom >"$work/munge.key"
chmod 400 "$work/munge.key"
munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge.socket" \
    --pid-file="$work/munge.pid" --log-file="$work/log/munged" --seed-file="$work/munge.seed" &
pids+=($!)

cat >"$work/slurm.conf" <<CONF
ClusterName=ionscreen
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$work/slurm.conf"
slurmctld -D -f "$SLURM_CONF" >"$work/log/slurmctld.out" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" >"$work/log/slurmd.out" 2>&1 &
pids+=($!)
for _ in $(seq 60); do
    [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && break
    sleep 1
done
sinfo

cd "$work"
export VENV=${VIRTUAL_ENV:?activate the environment that has ionscreen}
export DB="$work/mg.duckdb"
# The file as it is, but for the size of the allocation.
job=$(sbatch --parsable --nodes=1 --cpus-per-task="$cpus" --gpus-per-task=0 --time=15 \
    --output="$work/job.log" "$root/docs/cluster/slurm.sbatch")
echo "job $job"
while squeue -h -j "$job" -o %T 2>/dev/null | grep -q .; do sleep 2; done
cat "$work/job.log"
scontrol show job "$job" | grep -E "JobState|ExitCode"
scontrol show job "$job" | grep -q "JobState=COMPLETED"
"$VENV/bin/screen" status --db "$DB"
"$VENV/bin/screen" top -n 3 --db "$DB"
"$VENV/bin/screen" sql --format csv "select finished is not null from campaigns" --db "$DB" |
    grep -qi true
echo "ok: the campaign is finished"
