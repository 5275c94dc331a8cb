//! [`JobDescription`] in JSDL, the Open Grid Forum's Job Submission Description Language.

mod read;
pub(crate) mod values;
mod write;

pub(super) use read::read;

use crate::description::{JobDescription, invalid};
use crate::error::Result;
use crate::util::xml::Element;

const JSDL: &str = "http://schemas.ggf.org/jsdl/2005/11/jsdl";
const POSIX: &str = "http://schemas.ggf.org/jsdl/2005/11/jsdl-posix";
const HPC: &str = "http://schemas.ggf.org/jsdl/2006/07/jsdl-hpcpa";
const ARC: &str = "http://www.nordugrid.org/ws/schemas/jsdl-arc";

impl JobDescription {
    /// Writes the description in JSDL 1.0 ([GFD.136](https://www.ogf.org/documents/GFD.136.pdf)) with its POSIX
    /// application.
    ///
    /// The document is valid according to the standard's schemas. Where the standard has no element, the document
    /// contains an element of ARC 1 to 5 (`http://www.nordugrid.org/ws/schemas/jsdl-arc`). No current ARC-CE reads
    /// JSDL, so the crate does not submit jobs in it.
    ///
    /// [`from_jsdl`](Self::from_jsdl) reads the same description from the document, except that
    ///
    /// - local paths are absolute,
    /// - an input file has no explicit name if its name is the last component of its path or URL, and
    /// - an executable that is neither an absolute path nor an input file becomes an input file.
    ///
    /// Local files become absolute, percent-encoded `file:` URIs. The method does not access the files. The URI of a
    /// directory ends with a slash. Memory and disk space are in bytes, and times in seconds.
    ///
    /// An XML parser reads every text unchanged. However, the standard gives arguments the type `normalizedString`, so
    /// a program that applies the schema reads a tab, a line feed or a carriage return in an argument as a blank.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) for what JSDL cannot express: processes per
    ///   slot, a [delegation](Self::with_delegation) other than `Auto`, options of runtime environments,
    ///   [lists of outputs](Self::with_output_list), inputs that are bytes, and URLs that are not URIs.
    /// - The errors of [`validate`](Self::validate), except for what only an ARC-CE refuses.
    /// - [`Error::InputFile`](crate::Error::InputFile) for a relative path if there is no working directory.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use jasmin_arc::{ByteSize, JobDescription};
    ///
    /// let jsdl = JobDescription::new("/bin/cat")
    ///     .with_args(["R&D notes", ""])
    ///     .with_input_file("/home/me/R&D notes")
    ///     .with_output_file("results")
    ///     .with_wall_time(Duration::from_secs(600))
    ///     .with_memory(ByteSize::mib(500))
    ///     .with_queue("short")
    ///     .to_jsdl()?;
    /// assert_eq!(
    ///     jsdl,
    ///     r#"<?xml version="1.0" encoding="UTF-8"?>
    /// <JobDefinition xmlns="http://schemas.ggf.org/jsdl/2005/11/jsdl" xmlns:posix="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix" xmlns:arc="http://www.nordugrid.org/ws/schemas/jsdl-arc">
    ///   <JobDescription>
    ///     <JobIdentification>
    ///       <JobName>ARC job</JobName>
    ///     </JobIdentification>
    ///     <Application>
    ///       <posix:POSIXApplication>
    ///         <posix:Executable>/bin/cat</posix:Executable>
    ///         <posix:Argument>R&amp;D notes</posix:Argument>
    ///         <posix:Argument></posix:Argument>
    ///         <posix:Output>stdout.txt</posix:Output>
    ///         <posix:Error>stderr.txt</posix:Error>
    ///         <posix:WallTimeLimit>600</posix:WallTimeLimit>
    ///       </posix:POSIXApplication>
    ///     </Application>
    ///     <Resources>
    ///       <IndividualPhysicalMemory>
    ///         <LowerBoundedRange>524288000</LowerBoundedRange>
    ///       </IndividualPhysicalMemory>
    ///       <arc:QueueName>short</arc:QueueName>
    ///     </Resources>
    ///     <DataStaging>
    ///       <FileName>R&amp;D notes</FileName>
    ///       <CreationFlag>overwrite</CreationFlag>
    ///       <Source>
    ///         <URI>file:///home/me/R%26D%20notes</URI>
    ///       </Source>
    ///     </DataStaging>
    ///     <DataStaging>
    ///       <FileName>results</FileName>
    ///       <CreationFlag>overwrite</CreationFlag>
    ///       <DeleteOnTermination>false</DeleteOnTermination>
    ///     </DataStaging>
    ///   </JobDescription>
    /// </JobDefinition>
    /// "#
    /// );
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn to_jsdl(&self) -> Result<String> {
        self.check()?;
        write::document(self)
    }

    /// Reads a description in JSDL 1.0, with a POSIX application or one of the HPC profile (GFD.111), and with the
    /// extensions of ARC 1 to 5.
    ///
    /// - An element for which [`JobDescription`] has no field is an error. The labels `id` and `name`, with which parts
    ///   of a document refer to each other, are allowed and have no effect.
    /// - Texts are read literally. White space around numbers, URIs and other values is removed.
    /// - Without an `Output` or `Error`, the CE discards the standard output or error.
    /// - An amount of memory, disk space, time or slots is one whole number: `Exact`, an upper or a lower bound. A limit of
    ///   the POSIX application for the same resource must be equal to it. `TotalCPUCount` is the number of slots.
    /// - A `DataStaging` with a `Source` is an input, and one with a `Target` is an output that the CE uploads. With a
    ///   `DeleteOnTermination` of `false` it is an output that the CE keeps. All values of `CreationFlag` have the same
    ///   effect, because a new session directory is empty.
    /// - A `file:` URI is a local file, or a local directory if it ends with a slash. A source without a URI is the
    ///   file with that name in the working directory. The same applies to an executable or a standard input that is
    ///   neither an absolute path nor an input.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) if the text is not JSDL, or contains an
    /// unsupported element, attribute or value. The message names the element
    /// (`JobDescription/Resources/OperatingSystem`) or the attribute. Also the errors of [`validate`](Self::validate),
    /// except for what only an ARC-CE refuses.
    ///
    /// ```
    /// use jasmin_arc::{ByteSize, JobDescription};
    ///
    /// let text = r#"
    ///     <JobDefinition xmlns="http://schemas.ggf.org/jsdl/2005/11/jsdl">
    ///       <JobDescription>
    ///         <Application>
    ///           <POSIXApplication xmlns="http://schemas.ggf.org/jsdl/2005/11/jsdl-posix">
    ///             <Executable>/usr/bin/sort</Executable>
    ///             <Input>names</Input>
    ///             <Output>sorted</Output>
    ///           </POSIXApplication>
    ///         </Application>
    ///         <Resources>
    ///           <IndividualPhysicalMemory><LowerBoundedRange>1048576.0</LowerBoundedRange></IndividualPhysicalMemory>
    ///         </Resources>
    ///         <DataStaging>
    ///           <FileName>names</FileName>
    ///           <CreationFlag>overwrite</CreationFlag>
    ///           <Source><URI>https://example.org/names</URI></Source>
    ///         </DataStaging>
    ///       </JobDescription>
    ///     </JobDefinition>"#;
    /// let job = JobDescription::new("/usr/bin/sort")
    ///     .with_input_url("https://example.org/names")
    ///     .with_stdin("names")
    ///     .with_stdout("sorted")
    ///     .without_stderr()
    ///     .with_memory(ByteSize::mib(1));
    /// assert_eq!(JobDescription::from_jsdl(text)?, job);
    ///
    /// let text = text.replace("Individual", "Total");
    /// assert_eq!(
    ///     JobDescription::from_jsdl(&text).unwrap_err().to_string(),
    ///     "invalid job description: the JSDL element JobDescription/Resources/TotalPhysicalMemory is not supported"
    /// );
    /// # Ok::<(), jasmin_arc::Error>(())
    /// ```
    pub fn from_jsdl(text: &str) -> Result<JobDescription> {
        let root = Element::parse(text).map_err(|message| invalid(format!("it is not an XML document: {message}")))?;
        read(&root)
    }
}

#[cfg(test)]
mod tests;
