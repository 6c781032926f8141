"""Makes synthetic DICOM files: images.py FOLDER. Nothing in them comes from a patient or another project."""

import os
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ROOT = "1.2.826.0.1.3680043.10.5200"


def image(name, sop_class, modality, rows, number, syntax=ExplicitVRLittleEndian, bits=8):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.1.{number}"
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = f"{ROOT}.9"

    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = "20260102"
    ds.StudyTime = "101500"
    ds.ContentDate = "20260102"
    ds.ContentTime = "101500"
    ds.AccessionNumber = "A1"
    ds.Modality = modality
    ds.Manufacturer = "LABORATORY"
    ds.ReferringPhysicianName = "GREY^ANNA"
    ds.StudyDescription = "SYNTHETIC"
    ds.PatientName = "CANARY^DICOM"
    ds.PatientID = "4711"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "F"
    ds.StudyInstanceUID = f"{ROOT}.2.1"
    ds.SeriesInstanceUID = f"{ROOT}.3.{number}"
    ds.StudyID = "1"
    ds.SeriesNumber = number
    ds.InstanceNumber = 1
    ds.FrameOfReferenceUID = f"{ROOT}.4.1"
    ds.PositionReferenceIndicator = ""
    ds.PatientOrientation = ["L", "P"]
    if modality in ("CT", "MR"):
        ds.ImagePositionPatient = [0, 0, 0]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [1, 1]
        ds.SliceThickness = 1
        ds.RescaleIntercept = 0
        ds.RescaleSlope = 1
        ds.KVP = 120
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = rows
    ds.Columns = rows
    ds.BitsAllocated = bits
    ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = 0
    size = rows * rows * bits // 8
    ds.PixelData = bytes(range(256)) * (size // 256) + bytes(size % 256)
    ds["PixelData"].VR = "OW" if bits > 8 or syntax == ImplicitVRLittleEndian else "OB"
    ds.save_as(os.path.join(sys.argv[1], name), enforce_file_format=True)


image("us.dcm", ULTRASOUND, "US", 64, 1)
image("us-implicit.dcm", ULTRASOUND, "US", 64, 2, ImplicitVRLittleEndian)
image("us-large.dcm", ULTRASOUND, "US", 4096, 3)
image("ct.dcm", CT, "CT", 128, 4, bits=16)
image("mr.dcm", MR, "MR", 64, 5, bits=16)
image("us-medium.dcm", ULTRASOUND, "US", 2304, 6)
