"""What users submit, whatever its form: the images of a job."""
