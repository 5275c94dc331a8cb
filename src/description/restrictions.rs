//! [`Restrictions`]: what a description from somebody else may contain.

use super::{InputSource, JobDescription, invalid};
use crate::error::Result;
use crate::util::uri::without_password;

/// What a description from somebody else may contain, for
/// [`JobDescription::check_restrictions`](JobDescription::check_restrictions).
///
/// The default allows a job that only computes: an executable of the CE or one whose content is in the description,
/// arguments, input files whose content is in the description, outputs that are kept for download, and requests for
/// resources. It refuses everything that reads this computer, makes the CE contact others, uses your credentials on the CE,
/// or concerns your other jobs. The `allow_` methods lift one of these restrictions each.
///
/// ```
/// use jasmin_arc::{JobDescription, Restrictions};
///
/// // What a client sent to a service.
/// let text = r#"{"executable": "/bin/cat", "args": ["a"], "inputs": [{"source": {"file": "/etc/shadow"}}]}"#;
/// let job: JobDescription = serde_json::from_str(text)?;
/// let error = job.check_restrictions(&Restrictions::default()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "invalid job description: inputs: the local file \"/etc/shadow\" is not allowed in a description from others"
/// );
///
/// let job = JobDescription::new("/bin/sh").with_args(["-c", "wc data"]).with_input_bytes("data", "1 2 3");
/// job.check_restrictions(&Restrictions::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "restrictions do nothing until a description is checked"]
pub struct Restrictions {
    local_files: bool,
    urls: bool,
    delegation: bool,
    environment: bool,
    runtime_environments: bool,
    notifications: bool,
    keys: bool,
}

impl Restrictions {
    /// Allows input files and directories of this computer. Submitting the job reads them with the rights of this program.
    pub fn allow_local_files(mut self) -> Self {
        self.local_files = true;
        self
    }

    /// Allows inputs that the CE fetches from URLs, outputs that it uploads to URLs, and output lists, which can name URLs.
    ///
    /// The CE contacts the servers that the description names. Unless the description has
    /// [`Delegation::Never`](crate::Delegation::Never), it uses your credentials for that, so
    /// [`allow_delegation`](Self::allow_delegation) is needed too.
    pub fn allow_urls(mut self) -> Self {
        self.urls = true;
        self
    }

    /// Allows jobs that get a [delegation](crate::Delegation) of your credentials.
    ///
    /// The key `DELEGATION` in the configuration takes precedence: `never` is the safe value for a service.
    pub fn allow_delegation(mut self) -> Self {
        self.delegation = true;
        self
    }

    /// Allows environment variables.
    pub fn allow_environment(mut self) -> Self {
        self.environment = true;
        self
    }

    /// Allows runtime environments. Some of them, such as `ENV/PROXY`, give the job access to delegated credentials.
    pub fn allow_runtime_environments(mut self) -> Self {
        self.runtime_environments = true;
        self
    }

    /// Allows notifications, which the CE sends to any address by e-mail.
    pub fn allow_notifications(mut self) -> Self {
        self.notifications = true;
        self
    }

    /// Allows [keys](JobDescription::with_key) and [commits](JobDescription::with_commit). Submitting a key that exists
    /// returns the job that has it, even if somebody else submitted that job.
    pub fn allow_keys(mut self) -> Self {
        self.keys = true;
        self
    }
}

impl JobDescription {
    /// Checks that a description from somebody else contains only what you allow. The default of [`Restrictions`] allows
    /// nothing that reads this computer, makes the CE contact others, or uses your credentials.
    ///
    /// It accesses no files. Submitting the job validates its other values.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription), which begins with the name of the field.
    ///
    /// ```
    /// use jasmin_arc::{ArcInterface, JobDescription, JobId, Restrictions};
    ///
    /// fn submit_for_client(arc: &ArcInterface, text: &str) -> Result<JobId, Box<dyn std::error::Error>> {
    ///     let job: JobDescription = serde_json::from_str(text)?;
    ///     job.check_restrictions(&Restrictions::default().allow_environment())?;
    ///     Ok(arc.submit(&job)?)
    /// }
    /// ```
    pub fn check_restrictions(&self, allowed: &Restrictions) -> Result<()> {
        // A new field does not compile here until somebody has decided whether others may set it.
        let JobDescription {
            name: _,
            description: _,
            annotations: _,
            project: _,
            executable: _,
            args: _,
            envs,
            stdin: _,
            stdout: _,
            stderr: _,
            inputs,
            outputs,
            wall_time: _,
            cpu_time: _,
            memory: _,
            virtual_memory: _,
            disk: _,
            slots: _,
            slots_per_host: _,
            processes_per_slot: _,
            threads_per_process: _,
            exclusive: _,
            queue: _,
            runtime_environments,
            rerun: _,
            start_time: _,
            life_time: _,
            notifications,
            priority: _,
            log_directory: _,
            delegation: _,
            key,
            commit,
        } = self;
        for input in inputs {
            match input.source() {
                InputSource::File(path) if !allowed.local_files => {
                    refuse("inputs", format!("the local file {path:?}"))?
                }
                InputSource::Directory(path) if !allowed.local_files => {
                    refuse("inputs", format!("the local directory {path:?}"))?;
                }
                InputSource::Url(url) if !allowed.urls => {
                    refuse("inputs", format!("the URL {:?}", without_password(url)))?;
                }
                InputSource::File(_) | InputSource::Directory(_) | InputSource::Bytes(_) | InputSource::Url(_) => {}
            }
        }
        for output in outputs.iter().filter(|_| !allowed.urls) {
            if let Some(url) = output.url() {
                refuse("outputs", format!("the URL {:?}", without_password(url)))?;
            }
            if output.is_list() {
                refuse("outputs", format!("the list {:?}", output.name()))?;
            }
        }
        if let Some((variable, _)) = envs.first().filter(|_| !allowed.environment) {
            refuse("envs", format!("the variable {variable:?}"))?;
        }
        if let Some(rte) = runtime_environments.first().filter(|_| !allowed.runtime_environments) {
            refuse("runtime_environments", format!("{:?}", rte.name()))?;
        }
        if let Some(notification) = notifications.first().filter(|_| !allowed.notifications) {
            refuse("notifications", format!("the address {:?}", notification.email()))?;
        }
        if let Some(key) = key.as_ref().filter(|_| !allowed.keys) {
            refuse("key", format!("{key:?}"))?;
        }
        if let Some(commit) = commit.filter(|_| !allowed.keys) {
            refuse("commit", commit.to_string())?;
        }
        if self.wants_delegation() && !allowed.delegation {
            refuse("delegation", "a job that gets your credentials".to_owned())?;
        }
        Ok(())
    }
}

fn refuse(field: &str, value: String) -> Result<()> {
    Err(invalid(format!("{field}: {value} is not allowed in a description from others")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Delegation, InputFile, Notification, NotificationState, OutputFile, RuntimeEnvironment};

    fn job() -> JobDescription {
        JobDescription::new("/bin/sh")
    }

    #[test]
    fn each_restriction_can_be_lifted() {
        let none = Restrictions::default;
        let urls = || none().allow_urls().allow_delegation();
        let email = Notification::new("a@example.org", [NotificationState::Finished]);
        for (job, field, allowed) in [
            (job().with_input_file("/etc/shadow"), "inputs: the local file", none().allow_local_files()),
            (JobDescription::run_local("/bin/ls"), "inputs: the local file", none().allow_local_files()),
            (job().with_input_directory("/root"), "inputs: the local directory", none().allow_local_files()),
            (job().with_input_url("https://u:p@h/a"), "inputs: the URL \"https://u:...@h/a\"", urls()),
            (job().with_output_file_to("a", "https://h/a"), "outputs: the URL", urls()),
            (job().with_output_list("list"), "outputs: the list", urls()),
            (job().with_env("LD_PRELOAD", "x"), "envs: the variable \"LD_PRELOAD\"", none().allow_environment()),
            (
                job().with_runtime_environment(RuntimeEnvironment::new("ENV/PROXY")),
                "runtime_environments: \"ENV/PROXY\"",
                none().allow_runtime_environments(),
            ),
            (job().with_notification(email), "notifications: the address", none().allow_notifications()),
            (job().with_key("another's"), "key: \"another's\"", none().allow_keys()),
            (job().with_commit(false), "commit: false", none().allow_keys()),
            (job().with_delegation(Delegation::Always), "delegation: ", none().allow_delegation()),
        ] {
            let error = job.check_restrictions(&none()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid job description: {field}")), "{error}");
            assert!(!error.contains(":p@"), "{error}");
            job.check_restrictions(&allowed).unwrap();
        }
    }

    #[test]
    fn urls_alone_do_not_allow_credentials() {
        let job = job().with_input_url("https://h/a");
        let urls = Restrictions::default().allow_urls();
        let error = job.check_restrictions(&urls).unwrap_err().to_string();
        assert!(error.contains("delegation: "), "{error}");
        job.with_delegation(Delegation::Never).check_restrictions(&urls).unwrap();
    }

    #[test]
    fn jobs_that_only_compute_are_allowed() {
        let job = job()
            .with_name("n")
            .with_args(["-c", "cat in"])
            .with_input(InputFile::bytes("in", "x").with_executable(true))
            .with_output(OutputFile::everything())
            .with_stdin("in")
            .with_slots(2)
            .with_queue("short");
        job.check_restrictions(&Restrictions::default()).unwrap();
    }

    #[test]
    fn local_files_of_every_language_are_refused() {
        for text in [
            "&(executable=run.sh)",
            "&(executable=/bin/cat)(stdin=secret)",
            "&(executable=/bin/cat)(inputfiles=(a /etc/shadow))",
            "&(executable=/bin/cat)(inputfiles=(a \"\"))",
        ] {
            let job = JobDescription::parse(text).unwrap();
            job.check_restrictions(&Restrictions::default()).unwrap_err();
        }
    }
}
