//! [`JobDescription`] in JSDL, the Open Grid Forum's Job Submission Description Language.

mod read;
mod values;
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
    /// The description as a document in JSDL 1.0 ([GFD.136](https://www.ogf.org/documents/GFD.136.pdf)) with its POSIX
    /// application, valid by the standard's schemas. What the standard has no element for is in those that ARC 1 to 5 had
    /// for it (`http://www.nordugrid.org/ws/schemas/jsdl-arc`).
    ///
    /// No current ARC-CE reads JSDL: submitting a job does not use this. It is for other programs, and for the eye.
    ///
    /// [`from_jsdl`](Self::from_jsdl) reads back the same description, but that local paths are absolute then, that an
    /// input file has no name of its own where that is the last name of its path or URL, and that an executable which is
    /// neither an absolute path nor an input file has become one.
    ///
    /// An XML parser gives every string back as it is here. The standard, though, calls an argument a
    /// `normalizedString`: a program that reads the document by its schema sees a blank for each tab, line feed and
    /// carriage return in an argument (and in nothing else).
    ///
    /// The local files are given as absolute `file:` URLs, percent-encoded byte by byte; they are not looked at. The URL
    /// of a directory ends in a slash. Memory and disk space are in bytes, times in seconds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) for what JSDL cannot say: processes per slot,
    /// whether credentials are delegated, options of runtime environments, [lists of outputs](Self::with_output_list),
    /// input files that are bytes, and URLs that are no URIs. Besides, those of [`JobDescription::validate`], and
    /// [`Error::InputFile`](crate::Error::InputFile) for a relative path when the working directory is gone.
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

    /// Reads a document in JSDL 1.0, with a POSIX application or one of the HPC profile (GFD.111), and with the extensions
    /// of ARC 1 to 5.
    ///
    /// - Strings are taken to the letter; white space around numbers, URIs and the like does not count.
    /// - Without an `Output` or `Error`, the standard output or error is thrown away.
    /// - An amount of memory, disk space, time or slots is one whole number, be it `Exact`, an upper or a lower bound. Where
    ///   there is a limit of the POSIX application for the same, both must be equal. `TotalCPUCount` is the slots.
    /// - A `DataStaging` with a `Source` is an input, with a `Target` an output that is uploaded; with
    ///   `DeleteOnTermination` false it is an output that is kept. A `file:` URI is a local file, or a local directory if
    ///   it ends in a slash; so is a source without a URI: the file with that name in the working directory. It does not
    ///   matter which `CreationFlag` there is: nothing is in a new session directory.
    /// - An executable, or a standard input, that is neither an absolute path nor among the inputs is the local file with
    ///   that name.
    /// - The labels by which a document's parts refer to each other (`id` and `name`) mean nothing here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidJobDescription`](crate::Error::InvalidJobDescription) if it is not JSDL, or says anything that a
    /// [`JobDescription`] has nothing for: the message names the element (`JobDescription/Resources/OperatingSystem`) or
    /// the attribute. Besides, those of [`validate`](Self::validate) for what has been read.
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
