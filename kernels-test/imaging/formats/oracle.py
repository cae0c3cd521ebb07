"""Reads images with other people's readers and prints grid (RAS affine) and values for the tests.

oracle.py OUT KIND PATH...   writes float64 values, i fastest, to OUT and the grid as JSON to standard output.
KIND: pydicom (files of one series, or one multi-frame file), dcm2niix (a folder), nibabel (a pair), unu (NRRD), numpy (MetaImage).
"""
import glob, json, os, subprocess, sys, tempfile, zlib
import numpy as np


def lps_to_ras(columns, origin):
    m = np.eye(4)
    for c in range(3):
        m[:3, c] = columns[c]
    m[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ m


def of_pydicom(paths):
    import pydicom

    slices = []
    for path in paths:
        d = pydicom.dcmread(path)
        pixels = d.pixel_array.astype(np.float64)
        frames = int(d.get("NumberOfFrames", 1))
        pixels = pixels.reshape((frames,) + pixels.shape[-2:])
        for n in range(frames):
            if "PerFrameFunctionalGroupsSequence" in d:
                own, shared = d.PerFrameFunctionalGroupsSequence[n], d.SharedFunctionalGroupsSequence[0]
                group = lambda name: (own[name].value if name in own else shared[name].value)[0]
                position = group("PlanePositionSequence").ImagePositionPatient
                orientation = group("PlaneOrientationSequence").ImageOrientationPatient
                measures = group("PixelMeasuresSequence")
                spacing, thickness = measures.PixelSpacing, measures.get("SliceThickness", 1)
                values = group("PixelValueTransformationSequence")
            else:
                position, orientation, spacing = d.ImagePositionPatient, d.ImageOrientationPatient, d.PixelSpacing
                thickness = d.get("SpacingBetweenSlices") or d.get("SliceThickness") or 1
                values = d
            slope, inter = float(values.get("RescaleSlope", 1)), float(values.get("RescaleIntercept", 0))
            slices.append(([float(v) for v in position], [float(v) for v in orientation], [float(v) for v in spacing], float(thickness), pixels[n] * slope + inter))
    row, col = np.array(slices[0][1][:3]), np.array(slices[0][1][3:])
    normal = np.cross(row, col)
    slices.sort(key=lambda s: float(np.dot(s[0], normal)))
    data = np.stack([s[4] for s in slices])
    first, last = np.array(slices[0][0]), np.array(slices[-1][0])
    step = (last - first) / (len(slices) - 1) if len(slices) > 1 else normal * slices[0][3]
    spacing = slices[0][2]
    return lps_to_ras([row * spacing[1], col * spacing[0], step], first), data.transpose(2, 1, 0)


def of_dcm2niix(paths):
    import nibabel

    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["dcm2niix", "-z", "n", "-b", "n", "-f", "%s", "-o", out, paths[0]], check=True, stdout=subprocess.DEVNULL)
        image = nibabel.load(sorted(glob.glob(out + "/*.nii"))[0])
        data, affine = np.asarray(image.dataobj, dtype=np.float64), image.affine
    # It turns rows upside down.
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1, data.shape[1] - 1
    return affine @ flip, data[:, ::-1]


def of_nibabel(paths):
    import nibabel

    image = nibabel.load(paths[0])
    return image.affine, np.asarray(image.dataobj, dtype=np.float64)


def of_unu(paths):
    unu = "teem-unu" if os.path.exists("/usr/bin/teem-unu") else "unu"
    raw = subprocess.run([unu, "save", "-f", "nrrd", "-e", "raw", "-i", paths[0]], check=True, stdout=subprocess.PIPE).stdout
    head, body = raw.split(b"\n\n", 1)
    fields = dict(line.split(": ", 1) for line in head.decode().split("\n") if ": " in line and not line.startswith("#"))
    sizes = [int(n) for n in fields["sizes"].split()]
    kind = {"short": "i2", "unsigned short": "u2", "signed char": "i1", "unsigned char": "u1", "int": "i4", "unsigned int": "u4", "float": "f4", "double": "f8"}[fields["type"]]
    data = np.frombuffer(body, ("<" if fields.get("endian", "little") == "little" else ">") + kind).reshape(sizes, order="F")
    vector = lambda text: [float(v) for v in text.strip("()").split(",")]
    columns = [vector(v) for v in fields["space directions"].split()]
    assert fields["space"] == "left-posterior-superior"
    return lps_to_ras(columns, vector(fields["space origin"])), data.astype(np.float64)


def of_numpy(paths):
    whole = open(paths[0], "rb").read()
    at = whole.index(b"ElementDataFile")
    end = whole.index(b"\n", at) + 1
    fields = dict(line.split(" = ", 1) for line in whole[:end].decode().strip().split("\n"))
    body = zlib.decompress(whole[end:]) if fields["CompressedData"] == "True" else whole[end:]
    kind = {"MET_SHORT": "<i2", "MET_INT": "<i4"}[fields["ElementType"]]
    numbers = lambda key: [float(v) for v in fields[key].split()]
    data = np.frombuffer(body, kind).reshape([int(n) for n in numbers("DimSize")], order="F")
    matrix = np.array(numbers("TransformMatrix")).reshape(3, 3)
    spacing = numbers("ElementSpacing")
    return lps_to_ras([matrix[c] * spacing[c] for c in range(3)], numbers("Offset")), data.astype(np.float64)


out, kind, *paths = sys.argv[1:]
affine, data = globals()["of_" + kind](paths)
data.reshape(-1, order="F").astype("<f8").tofile(out)
print(json.dumps({"dims": list(data.shape), "affine": np.asarray(affine, dtype=float).reshape(-1).tolist()}))
