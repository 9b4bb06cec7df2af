#!/bin/sh
# Installs the DICOM peers that the tests talk to (dcmtk, Orthanc with DICOMweb) where they are missing and
# apt-get can.
# Without them the tests that need them are skipped and say so.
set -eu

missing=""
command -v storescu >/dev/null 2>&1 || missing="$missing dcmtk"
PATH="$PATH:/usr/sbin" command -v Orthanc >/dev/null 2>&1 || missing="$missing orthanc"
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed and no apt-get here:$missing. Tests that need them will be skipped."
    exit 0
fi
root=""
[ "$(id -u)" -eq 0 ] || root="sudo -n"
echo "Installing$missing ..."
# policy-rc.d: the packages' own services must not start, the tests start Orthanc themselves
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
if ! { $root apt-get update -qq && $root apt-get install -y -qq --no-install-recommends $missing; }; then
    echo "apt-get could not install:$missing. Tests that need them will be skipped."
fi
