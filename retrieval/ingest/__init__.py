"""From a manifest to an archive: identifiers, labels read from reports, embedding."""
