// The precompiled header of every unit test program.
#ifndef RHEA_TESTS_UNIT_PCH_H
#define RHEA_TESTS_UNIT_PCH_H

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rhea/pch.h"

#endif  // RHEA_TESTS_UNIT_PCH_H
