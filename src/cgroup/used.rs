//! Whether a cgroup that is there already may be a new container's.

use super::Cgroup;
use crate::error::{Failure, Result};

impl Cgroup {
    /// Two containers in one cgroup would share limits, and die of each other's `delete`.
    ///
    /// # Errors
    /// [`Failure::WrongStatus`]; those of reading.
    pub fn refuse_used(&self) -> Result<()> {
        let procs = self.procs()?.len();
        if procs != 0 {
            let text = format!("container's cgroup is not empty: {procs} process(es) found");
            return Err(Failure::WrongStatus(text).into());
        }
        if self.frozen()? {
            return Err(Failure::WrongStatus("container's cgroup unexpectedly frozen".to_owned()).into());
        }
        Ok(())
    }
}
