#!/bin/bash
# Runs a command with a Slurm of one node on this machine, made for it and taken down again (Debian: slurm-wlm, munge; root).
#
#   tools/cohort/slurm-here.sh FOLDER command…     FOLDER: an empty one, for configuration, state and logs
set -euo pipefail
folder=$(realpath "$1")
shift
for program in slurmctld slurmd munged sbatch; do
  command -v "$program" >/dev/null || { echo "skipped: $program is not installed (apt-get install slurm-wlm munge)" >&2; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo 'skipped: slurmd and munged need root' >&2; exit 77; }

mkdir -p "$folder"/{state,spool,munge}
chmod 755 "$folder"
host=$(hostname -s)
# Two tasks at a time, however many cores there are.
cpus=$(nproc)
head -c 1024 /dev/urandom > "$folder/munge/key"
chmod 400 "$folder/munge/key"
chmod 700 "$folder/munge"
socket="$folder/munge.socket"
cat > "$folder/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_HERE_PORT:-16817}
SlurmdPort=$((${SLURM_HERE_PORT:-16817} + 1))
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 2 ? cpus : 2)) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
export SLURM_CONF="$folder/slurm.conf"

stop() {
  trap - EXIT
  # By the process numbers they wrote, never by name.
  for name in slurmd slurmctld munged; do
    [ -s "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    kill "$pid" 2>/dev/null || continue
    # Zombies of a container without init count as gone.
    for _ in $(seq 50); do
      case $(ps -o stat= -p "$pid" || true) in '' | Z*) break ;; esac
      sleep 0.2
    done
  done
}
trap stop EXIT

munged --key-file="$folder/munge/key" --socket="$socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --force 2>>"$folder/munged.log"
slurmctld -f "$SLURM_CONF" -i
slurmd -f "$SLURM_CONF" -N "$host"
for _ in $(seq 100); do
  state=$(sinfo --noheader --format=%T 2>/dev/null || true)
  [ "$state" = idle ] && break
  sleep 0.2
done
[ "$state" = idle ] || { echo "slurm did not start: the node is '$state'; logs are in $folder" >&2; exit 1; }
"$@"
