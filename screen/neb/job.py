"""Batch scripts of the written calculations: stubs, whose words in capitals are the user's."""

from __future__ import annotations

from pathlib import Path

_HEAD = """\
#!/bin/bash
# Change what is in capitals, here and in the inputs.
#SBATCH --job-name=neb
#SBATCH --account=ACCOUNT
#SBATCH --partition=PARTITION
#SBATCH --nodes=NODES
#SBATCH --ntasks-per-node=TASKS
#SBATCH --time=24:00:00
"""
_VASP = """\
# The number of tasks has to be a multiple of the {images} images.
set -eu
cd "${{SLURM_SUBMIT_DIR:-$(dirname "$0")}}"
vasp=${{VASP_COMMAND:-"srun VASP_STD"}}

# POTCAR is not supplied: join those that POTCAR.spec names, in its order, from {functional}.
for place in endpoints/start endpoints/end neb; do
  [ -f $place/POTCAR ] || {{ echo "$place/POTCAR is missing: see $place/POTCAR.spec" >&2; exit 1; }}
done

for name in start end; do
  grep -qs "reached required accuracy" endpoints/$name/OUTCAR && continue
  cd endpoints/$name
  if [ -s CONTCAR ]; then cp CONTCAR POSCAR; fi
  $vasp > vasp.out
  grep -qs "reached required accuracy" OUTCAR || {{ echo "$name: submit again" >&2; exit 1; }}
  cd ../..
done

if [ -s neb/01/CONTCAR ]; then  # a band that was cut short goes on
  for place in neb/[0-9][0-9]; do
    if [ -s $place/CONTCAR ]; then cp $place/CONTCAR $place/POSCAR; fi
  done
else
  python3 follow_ends.py  # 3.10 or later
fi
cp endpoints/start/OUTCAR neb/00/
cp endpoints/end/OUTCAR neb/{last}/
(cd neb && $vasp > vasp.out)
"""
_ESPRESSO = """\
set -eu
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")}"
run=${MPI_COMMAND:-srun}

# Whether the ends hold: neb.x relaxes them again, with the band.
for name in start end; do
  grep -qs "JOB DONE" $name.out || $run pw.x -in $name.in > $name.out
done
if [ -s neb.path ]; then sed -i "s/'from_scratch'/'restart'/" neb.in; fi
$run neb.x -inp neb.in > neb.out
"""


def vasp_job(n_images: int, potcar_functional: str) -> str:
    """Relaxes the ends, lets the images follow, and runs the band; goes on where it stopped.

    Args:
        n_images: the two ends counted.
        potcar_functional: family of POTCARs.
    """
    last = f"{n_images - 1:02d}"
    return _HEAD + _VASP.format(images=n_images - 2, functional=potcar_functional, last=last)


def espresso_job() -> str:
    """Relaxes the ends and runs the band; goes on where it stopped."""
    return _HEAD + _ESPRESSO


def write_job(folder: Path, text: str) -> None:
    """Write ``job.sh``, which may be run as it is."""
    path = folder / "job.sh"
    path.write_text(text)
    path.chmod(0o755)
