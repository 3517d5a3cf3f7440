# SPDX-License-Identifier: Apache-2.0
"""A run: steps, the log, sample sheets and snapshots, and being stopped at any moment."""

import time
from contextlib import suppress

import torch

import stylegan_ops
from stylegan.data.loader import Batches
from stylegan.errors import SnapshotError, TrainingError, UserError
from stylegan.imaging import to_tensor
from stylegan.networks import Networks, load_networks, snapshots_of
from stylegan.runs import folder as rundir
from stylegan.runs import snapshot as checkpoint
from stylegan.runs.record import Bar, Record
from stylegan.runs.samples import Samples
from stylegan.runs.schedule import Due, images
from stylegan.training.guards import LIMIT, Collapse
from stylegan.training.interrupt import Interrupt
from stylegan.training.memory import peak_memory_gb
from stylegan.training.step import TrainingStep
from stylegan.words import one_line

TICK_SECONDS = 60  # a line in the log at least this often, however slow the machine
CHECK_STEPS = 16  # between looks at what is not finite; each waits for the device
LAST_TRIES = 60  # to write the last snapshot, ten seconds apart


class Trainer:
    """One run in one folder.

    Args:
        config: a resolved `Config` that fits the data set (`stylegan.training.setup.fit_to_data`).
        dataset: an `ImageDataset`.
        device: torch.device.
        run_dir: the run's folder (`rundir.new_run_dir`); may be set later, before `run`.
    """

    def __init__(self, config, dataset, device, run_dir=None):
        self.config, self.dataset, self.device, self.run_dir = config, dataset, device, run_dir
        labels = dataset.labels.values if config.G.c_dim else None
        self.model = TrainingStep(config, device, labels)
        self.samples = Samples(config, dataset, device)
        self.collapse, self.interrupt = Collapse(), Interrupt()
        self.seconds, self.late, self.resumed = 0.0, False, False
        self._logged = 0  # images seen at the last line of the log that was due
        self._whole = True  # not in the middle of a step
        self._notes = []  # warnings from before there was a log
        self._lock = None

    def resume(self, snapshot):
        """Go on from a snapshot folder, bit for bit as if there had been no break (on the CPU).

        Raises: SnapshotError if it lacks what training needs, UserError if the data set does not
            fit it.
        """
        state = checkpoint.read_state(snapshot)
        saved = load_networks(snapshot, self.device)
        for name in ("resolution", "channels", "c_dim"):
            was, now = getattr(saved.config.G, name), getattr(self.config.G, name)
            if was != now:
                raise UserError(snapshot, f"has {name} {was}, but the data set has {now}")
        for name in ("G", "D", "G_ema"):
            network = getattr(saved, name)
            if network is None:
                raise SnapshotError(snapshot, f"holds no {name}, so training cannot go on")
            getattr(self.model, name).load_state_dict(network.state_dict())
        try:
            self.model.load_state_dict(state["step"])
            self.collapse.streaks = state["collapse"]
            self.seconds, self._logged = state["seconds"], state["logged"]
            checkpoint.set_random_state(state["random"])
            data = state["data"]
        except torch.OutOfMemoryError:
            raise
        except (KeyError, ValueError, RuntimeError) as e:
            raise UserError(
                snapshot,
                f"{checkpoint.STATE} is of another version ({type(e).__name__} {e}); "
                "--init-from begins with its networks",
            ) from e
        self.resumed = True
        if data["fingerprint"] != self.dataset.fingerprint:
            self._notes.append(
                f"the files or labels are not those of {data['images']} images that the run had: "
                "it goes on with these, not exactly as it would have"
            )

    def resume_newest(self):
        """Go on from the newest snapshot of the run's folder that can be read; from the start where
        there is none. Newer ones that cannot be read are set aside.

        Raises: SnapshotError if there are snapshots, and none can be read.
        """
        self._hold()
        self.resumed, damaged = True, []
        for snapshot in reversed(snapshots_of(self.run_dir)):
            try:
                self.resume(snapshot)
                break
            except SnapshotError as e:
                damaged.append((snapshot, e))
                self.model = TrainingStep(self.config, self.device, self.model.labels)
        else:
            if damaged:
                raise damaged[0][1]
        for snapshot, e in damaged:
            checkpoint.set_aside(snapshot)
            self._notes.append(f"{e}; the one before is taken")

    @property
    def kimg(self):
        """Thousands of real images shown so far."""
        return self.model.images_seen / 1000

    def run(self):
        """Train until config.train.kimg or config.train.minutes, or until a signal asks to stop
        (`interrupt.signal` then); returns the last snapshot's folder.

        Raises: TrainingError if training fails for good; the last snapshot is from before.
        """
        self._hold()
        try:
            # By rule: a run that goes on must take the same steps, to the last bit.
            with self.interrupt, stylegan_ops.planning("fixed"):
                return self._run_here()
        finally:
            self._lock.release()

    def _run_here(self):
        checkpoint.clean(self.run_dir)
        self.record = Record(self.run_dir, self._logged, self.model.images_seen)
        if rundir.is_run(self.run_dir):
            update = lambda: rundir.update_config(self.run_dir, self.config)
            self.record.attempt("run.json", update)
        self._batches = self._open_batches()
        t, m = self.config.train, self.model
        try:
            with Bar(m.images_seen, images(t.kimg), t.batch, self.record.stream) as bar:
                return self._run(bar)
        except BaseException as e:
            self._rescue(e)
            raise
        finally:
            self._batches.close()
            self.record.close()

    def _hold(self):
        """Keep other processes out of the run's folder, from before a snapshot is read."""
        if self._lock is None or not self._lock.is_locked:
            self._lock = rundir.lock(self.run_dir)

    def _run(self, bar):
        t, m = self.config.train, self.model
        seconds = t.snapshot_minutes and t.snapshot_minutes * 60
        fresh = not m.images_seen
        tick = Due(t.tick_kimg, m.images_seen, TICK_SECONDS, first=fresh)
        sheet = Due(t.grid_kimg, m.images_seen, first=fresh)
        snapshot = Due(t.snapshot_kimg, m.images_seen, seconds)
        self._event("resumed" if self.resumed else "started", f"at {self.kimg:g} kimg")
        for note in self._notes:
            self._warn(note)
        if fresh:
            self._save_reals()
            self._save_sheet(sheet)
        begun, earlier = time.monotonic(), self.seconds
        tick_time, tick_images = begun, m.images_seen
        done = m.images_seen >= images(t.kimg)
        while not done:
            batch = next(self._batches, None)
            if batch is None:  # asked to stop while waiting for it
                break
            reals, c = to_tensor(batch[0], self.device), self._labels(batch[1])
            self._whole = False
            m.step(reals, c)
            self._whole = True
            bar.update(t.batch)
            now = time.monotonic()
            self.seconds = earlier + now - begun
            self.late = t.minutes is not None and now - begun >= t.minutes * 60
            done = m.images_seen >= images(t.kimg) or self.late or bool(self.interrupt.signal)
            due = tick(m.images_seen)
            if done or due or m.steps % CHECK_STEPS == 0:
                self._check(reals, c)
            if done or due:
                means = self._tick((m.images_seen - tick_images) / (now - tick_time), due)
                bar.set_postfix_str(f"G {means['loss/G']:.2f} D {means['loss/D']:.2f}")
            if due:
                tick.done(m.images_seen)
                tick_time, tick_images = now, m.images_seen
            if not done and sheet(m.images_seen):
                self._save_sheet(sheet)
            if not done and snapshot(m.images_seen) and m.finite.healthy():
                self._save(snapshot)
                self.record.report()
        return self._finish()

    def _finish(self):
        """The end of a run: what is left to write. Returns the last snapshot's folder."""
        asked = self.interrupt.signal
        if not asked:
            self._save_sheet()
        last = self._save_last()
        kind = "interrupted" if asked else "finished"
        why = f" by signal {asked}" if asked else " by the time limit" if self.late else ""
        self._event(kind, f"at {self.kimg:g} kimg{why}")
        self.record.report()
        return last or (snapshots_of(self.run_dir) or [None])[-1]

    def save_snapshot(self):
        """Write the networks and the state of training; returns the folder. Raises: OSError."""
        m, data = self.model, self.dataset
        about = {
            "name": data.name,
            "images": len(data),
            "class_names": list(data.class_names),
        }
        networks = Networks(
            self.config, {"kimg": self.kimg, "dataset": about}, G_ema=m.G_ema, G=m.G, D=m.D
        )
        state = {
            "step": m.state_dict(),
            "seconds": self.seconds,
            "logged": self._logged,
            "collapse": dict(self.collapse.streaks),
            "random": checkpoint.random_state(),
            "data": {"images": len(data), "fingerprint": data.fingerprint},
        }
        return checkpoint.write_snapshot(self.run_dir, networks, state, self.config.train.keep)

    def _save(self, due=None):
        """A snapshot, if its weights are finite; None where the disk is full."""
        bad = self.model.finite.nonfinite_weights()
        if bad:
            self._fail(f"{len(bad)} weights are not finite, {bad[0]} the first of them")
        with suppress(OSError):  # a snapshot is worth more than the lines before it
            self.record.log.sync()
        return self._written(self.record.attempt("a snapshot", self.save_snapshot), due)

    def _save_last(self):
        """The snapshot that a run ends with; where the disk is full, waits for room unless it is
        asked to stop."""
        for attempt in range(LAST_TRIES):
            folder = self._save()
            if folder or self.interrupt.signal:
                return folder
            if not attempt:
                self.record.say("waiting for room for the last snapshot; Ctrl-C gives it up")
            for _ in range(100):
                time.sleep(0 if self.interrupt.signal else 0.1)
        return None

    def _save_sheet(self, due=None):
        path = self.run_dir / "samples" / f"{self.kimg:010.3f}.png"
        save = lambda: self.samples.save(self.model.G_ema, path)
        self._written(self.record.attempt("a sheet of samples", save), due)

    def _save_reals(self):
        path = self.run_dir / "samples" / "reals.png"
        self.record.attempt("the sheet of real images", lambda: self.samples.save_reals(path))

    def _written(self, path, due):
        """`path`; what was due is done, or due again in a minute where the path is None."""
        if due and path:
            due.done(self.model.images_seen)
        elif due:
            due.failed()
        return path

    def _rescue(self, error):
        """After an error: say so in the log, and save what is whole."""
        text = one_line(error) or type(error).__name__
        self._event("failed", text[:500])
        m = self.model
        if self._whole and m.images_seen and not isinstance(error, TrainingError):
            if not m.finite.nonfinite_weights():
                self.record.attempt("a snapshot", self.save_snapshot)
        self.record.report()

    def _check(self, reals, c):
        """Raises: TrainingError if updates have failed too often in a row."""
        failing = self.model.finite.failing()
        if failing:
            layers = self.model.finite.layers()
            where = self.model.first_nonfinite(reals, c)
            self._fail(
                f"{' and '.join(failing)} was not finite {LIMIT} times in a row, or nearly always"
                + (f"; most in {layers}" if layers else "")
                + (f"; first in the output of {where}" if where else "")
            )

    def _fail(self, why):
        snapshots = snapshots_of(self.run_dir)
        good = (
            f"the last good snapshot is {snapshots[-1]}: --init-from goes on from it with other "
            "settings"
            if snapshots
            else "there is no snapshot from before"
        )
        raise TrainingError(
            f"training failed at {self.kimg:g} kimg: {why}; {good}; a smaller --g-lr and --d-lr, a "
            "larger --gamma or --precision float32 may help"
        )

    def _tick(self, rate, due):
        """A line in the log; where none is due, it does not count when the run is resumed."""
        m = self.model
        means = m.stats.means()
        line = {"kimg": self.kimg, "seconds": self.seconds, "images_per_s": rate}
        line |= {"memory_gb": peak_memory_gb(self.device), **means, "pl_mean": float(m.pl_mean)}
        self.record.numbers(line)
        if due:
            m.stats.clear()
            self._logged = m.images_seen
            for text in (*self.collapse(means, m.images_seen), m.finite.take()):
                if text:
                    self._warn(text)
        for name, why in self.dataset.take_skipped():
            self._warn(f"passed over {name}: {why}")
        return means

    def _event(self, kind, text):
        self.record.event(self.kimg, kind, text)

    def _warn(self, text):
        self.record.warn(self.kimg, text)

    def _open_batches(self):
        data, t = self.config.data, self.config.train
        return Batches(
            self.dataset,
            t.batch,
            t.seed,
            data.mirror,
            position=self.model.images_seen,
            workers=data.workers,
            pin_memory=self.device.type == "cuda",
            warn=self._warn,
            stop=lambda: bool(self.interrupt.signal),
        )

    def _labels(self, c):
        return c.to(self.device, non_blocking=True) if self.config.D.c_dim else None
