# SLURM on this machine for the CE in $dir: `run` reads this file for --lrms slurm.
#
# Its daemons listen on the loopback interface, and all of its files are in the CE's directory, so that several CEs with
# SLURM can run at once. munged and slurmd need root.

slurm_packages=(munge slurmctld slurmd slurm-client)

# Starts SLURM and waits for its node.
start_slurm() {
    ((EUID == 0)) || die "--lrms slurm needs root: SLURM starts jobs as another user"
    for _ in {1..5}; do
        configure_slurm
        start_slurm_daemons >"$dir/log/slurm-start.log" 2>&1 && wait_for_slurm && return
        grep -qs 'Address already in use' "$dir"/log/slurm{ctld,d}.log || return 1
        kill_processes
    done
    return 1
}

configure_slurm() {
    local ctld slurmd command
    until ctld=$((20000 + RANDOM % 12000)); ! port_in_use "$ctld"; do :; done
    until slurmd=$((20000 + RANDOM % 12000)); ((slurmd != ctld)) && ! port_in_use "$slurmd"; do :; done
    rm -rf "$dir/slurm"
    mkdir -p "$dir"/slurm/{bin,state,spool}
    head -c 128 /dev/urandom >"$dir/slurm/munge.key"
    chmod 400 "$dir/slurm/munge.key"
    sed -e "s|@DIR@|$dir|; s|@CTLD@|$ctld|; s|@SLURMD@|$slurmd|" "$here/slurm.conf.in" >"$dir/slurm/slurm.conf"
    # SLURM 23.11 and later look for the kernel's control groups unless this file exists. Earlier versions do not know it.
    [[ $(slurmd -V) =~ \ (2[0-2]|23\.02) ]] || echo 'CgroupPlugin=disabled' >"$dir/slurm/cgroup.conf"
    # The commands for A-REX, tests and people. They alone have SLURM_CONF in their environment, and so have the jobs.
    for command in sbatch scancel scontrol sinfo squeue; do
        printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$dir/slurm/slurm.conf" "$(command -v "$command")" \
            >"$dir/slurm/bin/$command"
        chmod 755 "$dir/slurm/bin/$command"
    done
    # sacct would need a database.
    sed -i -e "s|^lrms = fork|lrms = slurm\nslurm_bin_path = $dir/slurm/bin\nslurm_use_sacct = no|; s|^\[queue: fork\]|[queue: batch]|" "$dir/arc.conf"
}

start_slurm_daemons() {
    arc munged --key-file="$dir/slurm/munge.key" --socket="$dir/slurm/munge.socket" --pid-file="$dir/run/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/slurm/munge.seed" &&
        arc slurmctld -f "$dir/slurm/slurm.conf" &&
        arc slurmd -N localhost -f "$dir/slurm/slurm.conf"
}

wait_for_slurm() {
    local end=$((SECONDS + 30))
    until [[ $("$dir/slurm/bin/sinfo" -h -o %t 2>/dev/null) == idle ]]; do
        ((SECONDS < end)) && ! grep -qs 'Address already in use' "$dir"/log/slurm{ctld,d}.log || return 1
        sleep 0.1
    done
}
