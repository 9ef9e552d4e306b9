//! What the scenarios share: cameras that come and go, opening one, helper processes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use device::picture::{FrameRate, Picture, Pool};
use device::source::v4l2::{Camera, Settings};
use device::source::{Captured, Error, Open, Opening, Source, Taken, Wanted};
use testkit::clock::SystemClock;

/// Longest wait for anything: the machine is slow, not hung.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of a source.
pub(super) fn opening(width: u32, height: u32, fps: u32) -> Opening {
    Opening {
        wanted: Wanted {
            width,
            height,
            fps: FrameRate::whole(fps),
            raw: true,
        },
        clock: Arc::new(SystemClock),
        pool: Pool::default(),
    }
}

/// Opens a camera.
pub(super) fn open(path: &str, with: &Opening, settings: Settings) -> Result<Box<dyn Source>, Error> {
    Camera::new(path, settings).open(with)
}

/// Settings with one format only.
pub(super) fn only(format: [u8; 4]) -> Settings {
    Settings {
        format: Some(format),
        ..Settings::default()
    }
}

/// The next picture; panics when none comes.
pub(super) fn picture(source: &mut dyn Source) -> (Picture, Taken) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match source.next(Duration::from_millis(500)) {
            Ok(Some(Captured::Picture { picture, taken })) => return (picture, taken),
            Ok(Some(Captured::AccessUnit { .. })) => panic!("an access unit from a camera of pictures"),
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no picture in {PATIENCE:?}");
}

/// Reads until the source fails; panics when it does not.
pub(super) fn failure(source: &mut dyn Source) -> Error {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Err(error) = source.next(Duration::from_millis(500)) {
            return error;
        }
    }
    panic!("still no error after {PATIENCE:?}");
}

/// Loads the vivid driver with these parameters, after unloading it.
pub(super) fn vivid(parameters: &str) {
    let _ = Command::new("rmmod").arg("vivid").stderr(Stdio::null()).status();
    let mut insmod = Command::new("insmod");
    insmod.arg("/lib/modules/vivid.ko").args(parameters.split(' '));
    assert!(insmod.status().expect("insmod runs").success(), "vivid {parameters}");
    settle("/dev/video0");
}

/// Sets one of the driver's controls by its name, from outside as another program would.
pub(super) fn set_control(path: &str, name: &str, value: i64) {
    let device = moq_v4l::Device::with_path(path).expect(path);
    let controls = device.query_controls().expect("a list of controls");
    let Some(control) = controls.iter().find(|control| control.name == name) else {
        panic!(
            "no control {name:?} among {:?}",
            controls.iter().map(|control| &control.name).collect::<Vec<_>>()
        );
    };
    let value = moq_v4l::control::Value::Integer(value);
    device
        .set_control(moq_v4l::Control { id: control.id, value })
        .expect(name);
}

/// Takes the first vivid device from its driver, as if it was unplugged, or gives it back.
pub(super) fn plug(plugged: bool) {
    let action = if plugged { "bind" } else { "unbind" };
    fs::write(format!("/sys/bus/platform/drivers/vivid/{action}"), "vivid.0").expect(action);
}

/// Waits for a device node and hands it to the group that owns cameras, as udev does.
pub(super) fn settle(path: &str) {
    wait_until(|| Path::new(path).exists());
    let nodes = fs::read_dir("/dev").expect("/dev").flatten().map(|entry| entry.path());
    for node in nodes.filter(|path| path.to_string_lossy().contains("/video")) {
        assert!(
            Command::new("chgrp")
                .arg("video")
                .arg(&node)
                .status()
                .expect("chgrp")
                .success()
        );
        assert!(
            Command::new("chmod")
                .arg("660")
                .arg(&node)
                .status()
                .expect("chmod")
                .success()
        );
    }
}

pub(super) fn wait_until(mut there: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resources {
    pub(super) files: usize,
    pub(super) threads: usize,
    pub(super) resident_kib: u64,
}

/// What this process holds now.
pub(super) fn resources() -> Resources {
    let count = |path| fs::read_dir(path).expect(path).count();
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Resources {
        files: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        resident_kib: resident.expect("VmRSS"),
    }
}

/// What a user without rights is told who opens this device.
pub(super) fn as_nobody(path: &str) -> String {
    let program = fs::read_link("/proc/self/exe").expect("the path of this program");
    let command = format!("{} guest open {path}", program.display());
    let told = Command::new("su")
        .args(["-s", "/bin/sh", "nobody", "-c", &command])
        .output()
        .expect("su runs");
    String::from_utf8_lossy(&told.stdout).into_owned()
}

/// Another process that does one thing to a device until it is dropped.
pub(super) struct Helper(Child);

impl Helper {
    /// A process of this program that has the device open, and streams from it when `streaming`.
    pub(super) fn hold(path: &str, streaming: bool) -> Self {
        let mut helper = Command::new("/proc/self/exe");
        helper.args(["guest", "hold", path, if streaming { "streaming" } else { "open" }]);
        let mut child = helper.stdout(Stdio::piped()).spawn().expect("a helper process");
        let mut ready = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready)
            .expect("the helper has the device");
        Self(child)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Helper role: has a device open until it is killed.
pub(super) fn hold(arguments: &[String]) -> ExitCode {
    let path = &arguments[0];
    let _file;
    let mut source = None;
    if arguments[1] == "streaming" {
        source = Some(open(path, &opening(640, 360, 30), Settings::default()).expect("the helper opens the device"));
    } else {
        _file = fs::File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("the helper opens the device");
    }
    println!("!");
    loop {
        match &mut source {
            Some(source) => drop(source.next(Duration::from_millis(100))),
            None => thread::sleep(Duration::from_secs(1)),
        }
    }
}

/// Helper role: opens a device and prints what comes of it.
pub(super) fn open_and_tell(arguments: &[String]) -> ExitCode {
    match open(&arguments[0], &opening(640, 360, 30), Settings::default()) {
        Ok(source) => println!("opened {}", source.description().text),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}
